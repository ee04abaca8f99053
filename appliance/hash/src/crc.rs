//! The cyclic redundancy checks: CRC-32 (ISO-HDLC, as in gzip), CRC-32C (iSCSI), CRC-64/NVME.
//! Invariant: combining the checksums of two pieces gives the checksum of both in a row.
//! Leaves to crc-fast: the arithmetic.

use crc_fast::CrcAlgorithm;

macro_rules! checksum {
    ($name:ident, $one_shot:ident, $combine:ident, $number:ty, $algorithm:expr, $title:literal) => {
        #[doc = concat!("A ", $title, " over bytes that arrive in pieces.")]
        #[derive(Clone, Debug)]
        pub struct $name(crc_fast::Digest);

        impl $name {
            /// The checksum of no bytes yet.
            #[must_use]
            pub fn new() -> $name {
                $name(crc_fast::Digest::new($algorithm))
            }

            /// Adds `data` at the end.
            pub fn update(&mut self, data: &[u8]) {
                self.0.update(data);
            }

            /// The checksum of all bytes so far.
            #[must_use]
            pub fn finish(&self) -> $number {
                narrow(self.0.finalize())
            }
        }

        impl Default for $name {
            fn default() -> $name {
                $name::new()
            }
        }

        #[doc = concat!("The ", $title, " of `data`.")]
        #[must_use]
        pub fn $one_shot(data: &[u8]) -> $number {
            narrow(crc_fast::checksum($algorithm, data))
        }

        #[doc = concat!("The ", $title, " of two pieces in a row, from theirs and the second one's length in bytes.")]
        #[must_use]
        pub fn $combine(first: $number, second: $number, second_bytes: u64) -> $number {
            narrow(crc_fast::checksum_combine($algorithm, widen(first), widen(second), second_bytes))
        }
    };
}

checksum!(Crc32, crc32, crc32_combine, u32, CrcAlgorithm::Crc32IsoHdlc, "CRC-32");
checksum!(Crc32c, crc32c, crc32c_combine, u32, CrcAlgorithm::Crc32Iscsi, "CRC-32C");
checksum!(Crc64Nvme, crc64nvme, crc64nvme_combine, u64, CrcAlgorithm::Crc64Nvme, "CRC-64/NVME");

fn widen(number: impl Into<u64>) -> u64 {
    number.into()
}

fn narrow<T: TryFrom<u64>>(number: u64) -> T
where
    T::Error: std::fmt::Debug,
{
    T::try_from(number).expect("crc-fast gives no more bits than the algorithm has")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::tests::Random;

    #[test]
    fn the_catalogue_check_values_hold() {
        // https://reveng.sourceforge.io/crc-catalogue/all.htm, each over the nine digits.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc64nvme(b"123456789"), 0xae8b_1486_0a79_9888);
        assert_eq!((crc32(b""), crc32c(b""), crc64nvme(b"")), (0, 0, 0));
    }

    #[test]
    fn pieces_and_combination_equal_the_whole() {
        let mut random = Random::new(3);
        for _ in 0..400 {
            let length = random.below(3_000);
            let data = random.bytes(length);
            let (first, second) = data.split_at(random.below(length + 1));
            let mut pieces = (Crc32::new(), Crc32c::new(), Crc64Nvme::new());
            for piece in [first, second] {
                pieces.0.update(piece);
                pieces.1.update(piece);
                pieces.2.update(piece);
            }
            let second_bytes = second.len() as u64;
            let whole = (crc32(&data), crc32c(&data), crc64nvme(&data));
            assert_eq!((pieces.0.finish(), pieces.1.finish(), pieces.2.finish()), whole);
            assert_eq!(crc32_combine(crc32(first), crc32(second), second_bytes), whole.0);
            assert_eq!(crc32c_combine(crc32c(first), crc32c(second), second_bytes), whole.1);
            assert_eq!(crc64nvme_combine(crc64nvme(first), crc64nvme(second), second_bytes), whole.2);
        }
    }

    #[test]
    fn combination_with_nothing_changes_nothing() {
        let (some, nothing) = (&b"some"[..], &b""[..]);
        assert_eq!(crc32_combine(crc32(some), crc32(nothing), 0), crc32(some));
        assert_eq!(crc32_combine(crc32(nothing), crc32(some), 4), crc32(some));
        assert_eq!(crc32c_combine(crc32c(some), crc32c(nothing), 0), crc32c(some));
        assert_eq!(crc32c_combine(crc32c(nothing), crc32c(some), 4), crc32c(some));
        assert_eq!(crc64nvme_combine(crc64nvme(some), crc64nvme(nothing), 0), crc64nvme(some));
        assert_eq!(crc64nvme_combine(crc64nvme(nothing), crc64nvme(some), 4), crc64nvme(some));
    }

    #[test]
    fn every_short_length_agrees_with_the_bitwise_definition() {
        let data = Random::new(4).bytes(700);
        for length in 0..data.len() {
            let data = &data[..length];
            assert_eq!(u64::from(crc32(data)), bitwise(data, 0xedb8_8320, 32), "crc32 of {length} bytes");
            assert_eq!(u64::from(crc32c(data)), bitwise(data, 0x82f6_3b78, 32), "crc32c of {length} bytes");
            assert_eq!(
                crc64nvme(data),
                bitwise(data, 0x9a6c_9329_ac4b_c9b5, 64),
                "crc64nvme of {length} bytes"
            );
        }
    }

    /// The definition for reflected polynomials with all bits set at start and end.
    fn bitwise(data: &[u8], reflected_polynomial: u64, bits: u32) -> u64 {
        let ones = u64::MAX >> (64 - bits);
        let mut register = ones;
        for byte in data {
            register ^= u64::from(*byte);
            for _ in 0..8 {
                register = (register >> 1) ^ if register & 1 == 1 { reflected_polynomial } else { 0 };
            }
        }
        register ^ ones
    }
}
