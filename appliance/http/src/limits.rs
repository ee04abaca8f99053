//! Every bound that the server sets on its clients, in one place.
//! Invariant: no wait for a client and no buffer filled by a client is without a field here.

use std::time::Duration;

use crate::http1::HEADER_COUNT_CEILING;

/// The bounds of a server. `Server::set_limits` changes them for connections that begin later.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections per core; further ones wait in the listener's backlog.
    pub connections_per_core: usize,
    /// The TLS handshake, from accept to finish.
    pub tls_handshake: Duration,
    /// From the start of a connection to the first byte of its first request.
    pub first_byte: Duration,
    /// From the first byte of a request head to its last.
    pub head_time: Duration,
    /// How long a keep-alive connection may wait for its next request.
    pub idle: Duration,
    /// Bytes of the request line; 414 above. AWS presigned URLs with session tokens need more than 8 KiB.
    pub request_line_bytes_max: usize,
    /// Bytes of the whole head, request line included; 431 above.
    pub head_bytes_max: usize,
    /// Fields of a head; 431 above.
    pub header_count_max: usize,
    /// Requests on one HTTP/1 connection before it is closed, so that load spreads anew over the cores. Requests on
    /// one connection are executed one after the other: what a client sends ahead waits in the stream's buffer.
    pub requests_per_connection: u64,
    /// Bytes of one request body; 413 above. Services have their own, smaller bounds.
    pub body_bytes_max: u64,
    /// How long a body may pause while the handler waits for it.
    pub body_idle: Duration,
    /// The slowest average at which a body may come, and an answer may be taken, once `rate_grace` is used up.
    pub rate_bytes_per_second_min: u64,
    /// Time spent waiting for a client, per body, before the average counts.
    pub rate_grace: Duration,
    /// How long an answer may stay without any progress.
    pub write_stall: Duration,
    /// Bytes of an unread body that are read and dropped after the answer, so that the connection can be kept.
    pub drain_bytes_max: u64,
    /// Time for that, and for the client's last bytes when a connection is closed.
    pub drain_time: Duration,
    /// How long a connection without a request may still bring one once the server drains. Zero where nobody takes over the
    /// listener: a request that comes in the moment of the close is lost either way.
    pub drain_idle: Duration,
    /// Bytes of chunk extensions in one body, which carry nothing that is used.
    pub chunk_extension_bytes_max: usize,
    /// Bytes of the trailer section after a chunked body.
    pub trailer_bytes_max: usize,
    /// Concurrent streams of an HTTP/2 connection, and handlers that still run for streams that were reset.
    pub h2_streams_max: u32,
    /// Bytes in flight to one stream before the handler reads them.
    pub h2_stream_window_bytes: u32,
    /// Bytes in flight to one connection.
    pub h2_connection_window_bytes: u32,
    /// Largest frame taken.
    pub h2_frame_bytes_max: u32,
    /// Bytes buffered per stream towards the client.
    pub h2_send_buffer_bytes: usize,
    /// Streams reset by the client before their handler began, per connection, before it counts as an attack.
    pub h2_pending_resets_max: usize,
    /// Streams reset because of the client's errors, per connection, before it counts as an attack.
    pub h2_local_resets_max: usize,
    /// Ask silent HTTP/2 clients with open streams for a sign of life this often; `None` never asks.
    pub h2_ping_interval: Option<Duration>,
    /// How often deadlines are looked at; they pass up to this much late.
    pub timer_resolution: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const KIB: usize = 1024;
        const MIB: usize = 1024 * KIB;
        Self {
            connections_per_core: 16_384,
            tls_handshake: Duration::from_secs(10),
            first_byte: Duration::from_secs(10),
            head_time: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            request_line_bytes_max: 16 * KIB,
            head_bytes_max: 32 * KIB,
            header_count_max: 128,
            requests_per_connection: 1_000_000,
            // Above the 5 GiB of a single PUT with its chunk signatures; whole objects come in parts.
            body_bytes_max: 8 * 1024 * MIB as u64,
            body_idle: Duration::from_secs(30),
            rate_bytes_per_second_min: 512,
            rate_grace: Duration::from_secs(20),
            // A client that works on what it has read so far reads no further for minutes. What it makes us hold meanwhile
            // is bounded per connection and per core.
            write_stall: Duration::from_secs(300),
            drain_bytes_max: 256 * KIB as u64,
            drain_time: Duration::from_secs(2),
            drain_idle: Duration::ZERO,
            chunk_extension_bytes_max: 16 * KIB,
            trailer_bytes_max: 8 * KIB,
            h2_streams_max: 256,
            h2_stream_window_bytes: MIB as u32,
            h2_connection_window_bytes: 4 * MIB as u32,
            h2_frame_bytes_max: 64 * KIB as u32,
            h2_send_buffer_bytes: 256 * KIB,
            h2_pending_resets_max: 64,
            h2_local_resets_max: 256,
            h2_ping_interval: None,
            timer_resolution: Duration::from_millis(250),
        }
    }
}

/// No wait is longer, so that adding one to an instant cannot overflow.
const WAIT_MAX: Duration = Duration::from_secs(365 * 86_400);
/// RFC 9113 section 6.9.1.
const WINDOW_BYTES_CEILING: u32 = (1 << 31) - 1;
/// RFC 9113 section 4.2.
const FRAME_BYTES_FLOOR: u32 = 1 << 14;
const FRAME_BYTES_CEILING: u32 = (1 << 24) - 1;
/// Below this a request cannot be sent at all.
const HEAD_BYTES_FLOOR: usize = 256;

impl Limits {
    /// The same bounds with each brought into the range that the code and the protocols can keep.
    pub(crate) fn clamped(mut self) -> Self {
        for wait in [
            &mut self.tls_handshake,
            &mut self.first_byte,
            &mut self.head_time,
            &mut self.idle,
            &mut self.body_idle,
            &mut self.rate_grace,
            &mut self.write_stall,
            &mut self.drain_time,
            &mut self.drain_idle,
        ] {
            *wait = (*wait).min(WAIT_MAX);
        }
        self.h2_ping_interval = self.h2_ping_interval.map(|wait| wait.min(WAIT_MAX));
        self.timer_resolution =
            self.timer_resolution.clamp(Duration::from_millis(1), Duration::from_secs(10));
        self.connections_per_core = self.connections_per_core.max(1);
        self.requests_per_connection = self.requests_per_connection.max(1);
        self.head_bytes_max = self.head_bytes_max.max(HEAD_BYTES_FLOOR);
        self.header_count_max = self.header_count_max.min(HEADER_COUNT_CEILING);
        self.h2_streams_max = self.h2_streams_max.max(1);
        self.h2_stream_window_bytes = self.h2_stream_window_bytes.min(WINDOW_BYTES_CEILING);
        self.h2_connection_window_bytes = self.h2_connection_window_bytes.min(WINDOW_BYTES_CEILING);
        self.h2_frame_bytes_max = self.h2_frame_bytes_max.clamp(FRAME_BYTES_FLOOR, FRAME_BYTES_CEILING);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn limits_out_of_range_are_brought_back() {
        let limits = Limits {
            idle: Duration::MAX,
            timer_resolution: Duration::ZERO,
            h2_frame_bytes_max: 0,
            h2_streams_max: 0,
            header_count_max: usize::MAX,
            ..Limits::default()
        }
        .clamped();
        assert!(Instant::now().checked_add(limits.idle).is_some());
        assert!(limits.timer_resolution > Duration::ZERO && limits.h2_streams_max == 1);
        assert_eq!((limits.h2_frame_bytes_max, limits.header_count_max), (16_384, 256));
    }

    #[test]
    fn the_defaults_are_in_range() {
        let limits = Limits::default();
        assert_eq!(format!("{:?}", limits.clone().clamped()), format!("{limits:?}"));
    }
}
