//! Finding the word that was probably meant.
//! Invariant: a suggestion is only made when it is close; a wild guess would mislead.

/// The candidate nearest to `word`, if at most a third of its letters differ.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, removed, replaced or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(WORD_CHARACTERS_MAX).collect();
    let b: Vec<char> = b.chars().take(WORD_CHARACTERS_MAX).collect();
    let width = b.len() + 1;
    let mut rows = vec![0_usize; (a.len() + 1) * width];
    for (j, cell) in rows.iter_mut().take(width).enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        rows[i * width] = i;
        for j in 1..=b.len() {
            let replace = rows[(i - 1) * width + j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replace.min(rows[(i - 1) * width + j] + 1).min(rows[i * width + j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[(i - 2) * width + j - 2] + 1);
            }
            rows[i * width + j] = least;
        }
    }
    rows[a.len() * width + b.len()]
}

const WORD_CHARACTERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let keys = ["data", "listen", "shards", "tls_cert", "tls_key"];
        assert_eq!(nearest("lisetn", keys), Some("listen"));
        assert_eq!(nearest("tls_certt", keys), Some("tls_cert"));
        assert_eq!(nearest("Data", keys), Some("data"));
        assert_eq!(nearest("tls-key", keys), Some("tls_key"));
    }

    #[test]
    fn a_word_that_is_far_from_all_gets_no_guess() {
        assert_eq!(nearest("replication", ["data", "listen"]), None);
        assert_eq!(nearest("x", ["a", "ab"]), None);
    }
}
