//! Conditional requests: RFC 9110 section 13 as S3 applies it to reads, writes and deletes.
//! Invariant: a condition is judged against the one state that its caller hands in; on writes that is the state that
//! the owner shard holds while it executes, so of racing writers exactly one finds the key absent.

use super::etag::{Etag, unquote};

/// The value of an If-Match or If-None-Match header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EtagList {
    /// `*`: any existing object.
    Any,
    /// Entity tags without quotes.
    Tags(Vec<String>),
}

impl EtagList {
    /// Reads `*` or a comma-separated list, quoted or not.
    #[must_use]
    pub fn parse(text: &str) -> EtagList {
        if text.trim() == "*" {
            return EtagList::Any;
        }
        EtagList::Tags(text.split(',').map(|tag| unquote(tag).to_owned()).collect())
    }

    /// Whether an existing object with this tag is named.
    #[must_use]
    pub fn names(&self, etag: &Etag) -> bool {
        match self {
            EtagList::Any => true,
            EtagList::Tags(tags) => tags.iter().any(|tag| etag.is(tag)),
        }
    }
}

/// The conditional headers of a request. Times are whole seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Conditions {
    /// If-Match.
    pub if_match: Option<EtagList>,
    /// If-None-Match.
    pub if_none_match: Option<EtagList>,
    /// If-Modified-Since.
    pub if_modified_since: Option<u64>,
    /// If-Unmodified-Since.
    pub if_unmodified_since: Option<u64>,
    /// x-amz-if-match-last-modified-time, on deletes.
    pub if_modified_time: Option<u64>,
    /// x-amz-if-match-size, on deletes.
    pub if_size: Option<u64>,
}

/// What a condition is judged against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The object's tag.
    pub etag: Etag,
    /// When it was last modified, in milliseconds since 1970.
    pub modified_ms: u64,
    /// Its size.
    pub size: u64,
}

/// The outcome of judging conditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Go on.
    Pass,
    /// 412; the text names the header.
    Failed(&'static str),
    /// 304, on reads only.
    NotModified,
    /// If-Match on a key that is not there: 404.
    Absent,
}

impl Conditions {
    /// Whether the request carries no condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Conditions::default()
    }

    /// For GET and HEAD. If-Match beats If-Unmodified-Since, If-None-Match beats If-Modified-Since.
    #[must_use]
    pub fn judge_read(&self, subject: &Subject) -> Verdict {
        match self.judge_source(subject) {
            Verdict::Failed("If-None-Match" | "If-Modified-Since") => Verdict::NotModified,
            other => other,
        }
    }

    /// For the source of a copy: what would be 304 on a read is 412 here.
    #[must_use]
    pub fn judge_source(&self, subject: &Subject) -> Verdict {
        let modified_s = subject.modified_ms / 1_000;
        if let Some(list) = &self.if_match {
            if !list.names(&subject.etag) {
                return Verdict::Failed("If-Match");
            }
        } else if self.if_unmodified_since.is_some_and(|since| modified_s > since) {
            return Verdict::Failed("If-Unmodified-Since");
        }
        if let Some(list) = &self.if_none_match {
            if list.names(&subject.etag) {
                return Verdict::Failed("If-None-Match");
            }
        } else if self.if_modified_since.is_some_and(|since| modified_s <= since) {
            return Verdict::Failed("If-Modified-Since");
        }
        Verdict::Pass
    }

    /// For PUT, POST, copy and Complete. `subject`: the current object; `None` also when that is a delete marker.
    #[must_use]
    pub fn judge_write(&self, subject: Option<&Subject>) -> Verdict {
        match (&self.if_match, subject) {
            (Some(_), None) => return Verdict::Absent,
            (Some(list), Some(subject)) if !list.names(&subject.etag) => return Verdict::Failed("If-Match"),
            _ => {}
        }
        match (&self.if_none_match, subject) {
            (Some(list), Some(subject)) if list.names(&subject.etag) => Verdict::Failed("If-None-Match"),
            _ => Verdict::Pass,
        }
    }

    /// For DELETE. A key that is not there fails nothing: there is nothing left that could be removed by mistake.
    #[must_use]
    pub fn judge_delete(&self, subject: Option<&Subject>) -> Verdict {
        let Some(subject) = subject else {
            return Verdict::Pass;
        };
        if self.if_match.as_ref().is_some_and(|list| !list.names(&subject.etag)) {
            return Verdict::Failed("If-Match");
        }
        if self.if_modified_time.is_some_and(|time| subject.modified_ms / 1_000 != time) {
            return Verdict::Failed("x-amz-if-match-last-modified-time");
        }
        if self.if_size.is_some_and(|size| subject.size != size) {
            return Verdict::Failed("x-amz-if-match-size");
        }
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Subject =
        Subject { etag: Etag { md5: [1; 16], part_count: 0 }, modified_ms: 10_500, size: 7 };

    fn hit() -> Option<EtagList> {
        Some(EtagList::parse(&SUBJECT.etag.quoted()))
    }

    fn miss() -> Option<EtagList> {
        Some(EtagList::parse("\"other\", \"more\""))
    }

    #[test]
    fn tags_beat_times_on_reads() {
        let judge = |conditions: Conditions| conditions.judge_read(&SUBJECT);
        let base = Conditions::default;
        assert_eq!(
            judge(Conditions { if_match: hit(), if_unmodified_since: Some(1), ..base() }),
            Verdict::Pass
        );
        assert_eq!(judge(Conditions { if_match: miss(), ..base() }), Verdict::Failed("If-Match"));
        assert_eq!(judge(Conditions { if_none_match: hit(), ..base() }), Verdict::NotModified);
        let both = Conditions { if_none_match: miss(), if_modified_since: Some(99), ..base() };
        assert_eq!(judge(both), Verdict::Pass);
        assert_eq!(judge(Conditions { if_modified_since: Some(10), ..base() }), Verdict::NotModified);
        assert_eq!(judge(Conditions { if_modified_since: Some(9), ..base() }), Verdict::Pass);
        let stale = Conditions { if_unmodified_since: Some(9), ..base() };
        assert_eq!(judge(stale), Verdict::Failed("If-Unmodified-Since"));
        assert_eq!(judge(Conditions { if_unmodified_since: Some(10), ..base() }), Verdict::Pass);
    }

    #[test]
    fn writes_tell_absent_from_different() {
        let conditions = Conditions { if_match: hit(), ..Conditions::default() };
        assert_eq!(conditions.judge_write(None), Verdict::Absent);
        assert_eq!(conditions.judge_write(Some(&SUBJECT)), Verdict::Pass);
        let conditions = Conditions { if_none_match: Some(EtagList::Any), ..Conditions::default() };
        assert_eq!(conditions.judge_write(None), Verdict::Pass);
        assert_eq!(conditions.judge_write(Some(&SUBJECT)), Verdict::Failed("If-None-Match"));
        let conditions = Conditions { if_none_match: miss(), ..Conditions::default() };
        assert_eq!(conditions.judge_write(Some(&SUBJECT)), Verdict::Pass);
    }

    #[test]
    fn deletes_check_tag_time_and_size() {
        let any = Conditions { if_match: Some(EtagList::Any), ..Conditions::default() };
        assert_eq!(any.judge_delete(None), Verdict::Pass);
        assert_eq!(any.judge_delete(Some(&SUBJECT)), Verdict::Pass);
        assert_eq!(Conditions::default().judge_delete(None), Verdict::Pass);
        let size = Conditions { if_size: Some(8), ..Conditions::default() };
        assert_eq!(size.judge_delete(Some(&SUBJECT)), Verdict::Failed("x-amz-if-match-size"));
    }
}
