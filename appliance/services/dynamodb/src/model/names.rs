//! Names that the service makes itself: labels and shards of streams, sequence numbers, ids.
//! Invariant: parsing undoes printing, and accepts nothing that was not printed.
//! Leaves to arn.rs: names of resources. To wire/constraint.rs: which characters a client may use.

use store::{ShardId, Timestamp};

/// Positions within one batch; a batch of the store is far too short for so many records.
const POSITION_COUNT: u128 = 1_000_000;
/// Digits of a sequence number, at least. AWS's have 21 to 40.
const SEQUENCE_DIGITS: usize = 21;

/// A stream's label: the time at which it was opened, to the millisecond, UTC, without a zone.
#[must_use]
pub fn stream_label(opened: Timestamp) -> String {
    let mut label = aws::Timestamp(i64::try_from(opened.0).unwrap_or(i64::MAX)).to_iso8601();
    label.truncate(label.trim_end_matches('Z').len());
    label
}

/// The time in a label.
#[must_use]
pub fn parse_stream_label(label: &str) -> Option<Timestamp> {
    let time = aws::Timestamp::parse_iso8601(format!("{label}Z").as_bytes())?;
    let opened = Timestamp(u64::try_from(time.0).ok()?);
    (stream_label(opened) == label).then_some(opened)
}

/// The name of a stream's shard. Each shard of the store holds one shard of every stream.
#[must_use]
pub fn stream_shard_name(opened: Timestamp, shard: ShardId) -> String {
    format!("shardId-{:020}-{:08x}", opened.0, shard.0)
}

/// The shard of the store that a name means, if it is one of the stream that was opened then.
#[must_use]
pub fn parse_stream_shard_name(name: &str, opened: Timestamp) -> Option<ShardId> {
    let shard = u16::from_str_radix(name.rsplit('-').next()?, 16).ok().map(ShardId)?;
    (stream_shard_name(opened, shard) == name).then_some(shard)
}

/// Whether a position of the store can be told to clients.
#[must_use]
pub fn is_tellable(sequence: u128) -> bool {
    sequence & u128::from(u64::MAX) < POSITION_COUNT
}

/// The sequence number that clients see, for a sequence of the store (batch number in the upper half, position in the lower).
#[must_use]
pub fn sequence_text(sequence: u128) -> String {
    let (batch, position) = (sequence >> 64, sequence & u128::from(u64::MAX));
    let told = batch * POSITION_COUNT + position.min(POSITION_COUNT - 1);
    format!("{told:0width$}", width = SEQUENCE_DIGITS)
}

/// The sequence of the store that a sequence number means.
#[must_use]
pub fn parse_sequence(text: &str) -> Option<u128> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let told: u128 = text.parse().ok()?;
    let batch = u64::try_from(told / POSITION_COUNT).ok()?;
    Some((u128::from(batch) << 64) | (told % POSITION_COUNT))
}

/// A random UUID (RFC 9562, version 4) of two drawn numbers.
#[must_use]
pub fn uuid(high: u64, low: u64) -> String {
    let high = (high & !0xf000) | 0x4000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_back_and_nothing_else_is_one() {
        let opened = Timestamp(1_795_275_930_123);
        assert_eq!(stream_label(opened), "2026-11-21T15:45:30.123");
        assert_eq!(parse_stream_label("2026-11-21T15:45:30.123"), Some(opened));
        assert_eq!(stream_label(Timestamp(1_795_275_930_000)), "2026-11-21T15:45:30.000");
        for text in ["", "2026-11-21T15:45:30", "2026-11-21T15:45:30.123Z", "2026-13-21T15:45:30.123", "ä"] {
            assert_eq!(parse_stream_label(text), None, "{text}");
        }
    }

    #[test]
    fn shard_names_belong_to_one_stream() {
        let opened = Timestamp(1_795_275_930_123);
        let name = stream_shard_name(opened, ShardId(258));
        assert_eq!(name, "shardId-00000001795275930123-00000102");
        assert!((28..=65).contains(&name.len()));
        assert_eq!(parse_stream_shard_name(&name, opened), Some(ShardId(258)));
        assert_eq!(parse_stream_shard_name(&name, Timestamp(1)), None);
        assert_eq!(parse_stream_shard_name("shardId-x", opened), None);
        assert_eq!(parse_stream_shard_name(&name.to_uppercase(), opened), None);
    }

    #[test]
    fn sequence_numbers_rise_and_come_back() {
        let sequences = [1_u128 << 64, (1 << 64) | 999_999, 2 << 64, (u128::from(u64::MAX) << 64) | 3];
        let texts: Vec<String> = sequences.iter().map(|sequence| sequence_text(*sequence)).collect();
        assert_eq!(texts[0], "000000000000001000000");
        for (sequence, text) in sequences.iter().zip(&texts) {
            assert!((21..=40).contains(&text.len()));
            assert_eq!(parse_sequence(text), Some(*sequence));
        }
        assert!(texts.windows(2).all(|pair| pair[0] < pair[1] || pair[0].len() < pair[1].len()));
        for text in ["", "-1", "1e5", "999999999999999999999999999999999999999999"] {
            assert_eq!(parse_sequence(text), None, "{text}");
        }
        assert!(is_tellable(sequences[1]) && !is_tellable((1 << 64) | 1_000_000));
    }

    #[test]
    fn a_uuid_says_its_version() {
        assert_eq!(uuid(u64::MAX, u64::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid(0, 0), "00000000-0000-4000-8000-000000000000");
    }
}
