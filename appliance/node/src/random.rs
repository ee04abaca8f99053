//! Random numbers from the kernel, in stretches, so that a request costs no system call.
//! Invariant: no byte is given out twice, and a kernel that gives none stops the process rather than repeat itself.

use rustix::rand::{GetRandomFlags, getrandom};

/// Fills `bytes` from the kernel.
pub fn fill(bytes: &mut [u8]) -> rustix::io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// One core's source.
pub struct Random {
    stretch: [u8; STRETCH_BYTES],
    next: usize,
}

const STRETCH_BYTES: usize = 1_024;

impl Random {
    /// A source with nothing drawn yet.
    pub fn new() -> Random {
        Random { stretch: [0; STRETCH_BYTES], next: STRETCH_BYTES }
    }

    /// Eight bytes.
    pub fn draw(&mut self) -> u64 {
        if self.next == STRETCH_BYTES {
            fill(&mut self.stretch)
                .expect("getrandom does not fail once the kernel's pool is ready, and it was at start");
            self.next = 0;
        }
        let bytes = &mut self.stretch[self.next..self.next + 8];
        let number = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        // What was given out is forgotten here, so that a later memory dump does not tell it.
        bytes.fill(0);
        self.next += 8;
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_repeat_over_stretches() {
        let mut random = Random::new();
        let mut seen: Vec<u64> = (0..1_000).map(|_| random.draw()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1_000);
    }
}
