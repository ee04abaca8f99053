//! What is done, and to what; told in errors, figures and log entries.

use std::fmt;

/// What is done, and to what. The resource becomes text only when something is told of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation<'a> {
    /// Amazon's word: `PutObject`.
    pub name: &'static str,
    /// What it is about.
    pub resource: Resource<'a>,
    /// What a second request would do.
    pub repeat: Repeat,
}

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    /// The whole service.
    Service,
    /// A bucket, a table, a queue, a topic.
    One(&'a str),
    /// An object of a bucket, an item of a table.
    Inside(&'a str, &'a str),
}

/// What a second request would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// The same as one.
    Harmless,
    /// Something more, unless the service refused to begin with the first one.
    Harmful,
}

impl<'a> Operation<'a> {
    /// On the whole service: `ListBuckets`.
    pub fn new(name: &'static str) -> Operation<'a> {
        Operation { name, resource: Resource::Service, repeat: Repeat::Harmless }
    }

    /// On a bucket, a table, a queue, a topic.
    pub fn on(name: &'static str, resource: &'a str) -> Operation<'a> {
        Operation { resource: Resource::One(resource), ..Operation::new(name) }
    }

    /// On something inside: `inside("GetObject", "bucket", "key")` is about `bucket/key`.
    pub fn inside(name: &'static str, outer: &'a str, inner: &'a str) -> Operation<'a> {
        Operation { resource: Resource::Inside(outer, inner), ..Operation::new(name) }
    }

    /// Not to be sent again when its answer is lost.
    pub fn once(self) -> Operation<'a> {
        self.once_if(true)
    }

    /// The same where this is so.
    pub fn once_if(self, is_harmful: bool) -> Operation<'a> {
        if is_harmful { Operation { repeat: Repeat::Harmful, ..self } } else { self }
    }

    /// The outer one: the bucket, the table, the queue, the topic.
    pub fn outer(&self) -> &'a str {
        match self.resource {
            Resource::Service => "",
            Resource::One(outer) | Resource::Inside(outer, _) => outer,
        }
    }

    /// What it is about, as a text.
    pub fn resource_text(&self) -> Option<String> {
        match self.resource {
            Resource::Service => None,
            Resource::One(one) => Some(one.to_string()),
            Resource::Inside(outer, inner) => Some([outer, "/", inner].concat()),
        }
    }
}

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        match self.resource_text() {
            None => Ok(()),
            Some(resource) => write!(f, " {resource}"),
        }
    }
}
