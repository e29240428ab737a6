//! Frames of HTTP/2 that make work and carry nothing: a connection has a budget of them, which its calls refill.
//!
//! Pings, settings and resets cost the server a look and sometimes an answer, and cost their sender next to nothing. A client
//! that calls sends a few of them with each call; who sends nothing else is hung up on. (What comes in one header's
//! CONTINUATION frames and how many resets may wait is bounded by the HTTP/2 library itself.) A client that receives acknowledges
//! what it reads, some with a ping for every round trip: what is sent to it refills the budget, too.

use std::time::Instant;

/// Bytes that a client sends before its first frame.
const PREFACE: usize = 24;
/// Bytes of a frame's header.
const HEADER: usize = 9;
/// Frames that may come at once.
const BUDGET: f64 = 1000.0;
/// Frames that are allowed in each second besides.
const PER_SECOND: f64 = 100.0;
/// What a call brings: grpc-go measures the line with a ping for each answer, and acknowledges data.
const PER_CALL: f64 = 4.0;
/// Bytes sent that bring one frame. grpc-go answers a megabyte with 50 to 130 frames, while its windows are small.
const PER_FRAME: f64 = 4096.0;
/// What a reset costs: more than its call brought.
const RESET: f64 = 5.0;
/// DATA frames of fewer bytes that do not end a message's stream are suspicious.
const SMALL: usize = 64;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;

/// Reads the frames' headers of what one client sends.
pub struct FrameBudget {
    /// Bytes to pass over: the rest of the preface, or of a frame.
    skip: usize,
    header: [u8; HEADER],
    have: usize,
    budget: f64,
    filled: Instant,
}

impl FrameBudget {
    /// A connection that begins now.
    pub fn new(now: Instant) -> Self {
        Self { skip: PREFACE, header: [0; HEADER], have: 0, budget: BUDGET, filled: now }
    }

    /// Looks at the next bytes; false when the budget is spent.
    pub fn allow(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        while !bytes.is_empty() {
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = bytes.get(passed..).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            let taken = HEADER.saturating_sub(self.have).min(bytes.len());
            let (now_taken, rest) = bytes.split_at(taken);
            if let Some(place) = self.header.get_mut(self.have..self.have + taken) {
                place.copy_from_slice(now_taken);
            }
            self.have += taken;
            bytes = rest;
            if self.have == HEADER {
                self.have = 0;
                let [a, b, c, kind, flags, ..] = self.header;
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.charge(kind, flags, now);
                if self.budget < 0.0 {
                    return false;
                }
            }
        }
        true
    }

    /// So many bytes were sent to the client.
    pub fn sent(&mut self, bytes: usize) {
        // no write is larger than a double can count
        self.budget = (self.budget + bytes as f64 / PER_FRAME).min(BUDGET);
    }

    fn charge(&mut self, kind: u8, flags: u8, now: Instant) {
        let cost = match kind {
            HEADERS => -PER_CALL,
            DATA if self.skip >= SMALL || flags & END_STREAM != 0 => 0.0,
            RST_STREAM => RESET,
            _ => 1.0,
        };
        if cost > 0.0 && self.budget < cost {
            let elapsed = now.saturating_duration_since(self.filled);
            self.budget += elapsed.as_secs_f64() * PER_SECOND;
            self.filled = now;
        }
        self.budget = (self.budget - cost).min(BUDGET);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend(vec![0; length.into()]);
        frame
    }

    /// How many of these frames are allowed, at most `most`.
    fn allowed(frames: &mut FrameBudget, frame: &[u8], most: usize, now: Instant) -> usize {
        (0..most).take_while(|_| frames.allow(frame, now)).count()
    }

    #[test]
    fn floods_are_noticed_and_calls_are_not() {
        let start = Instant::now();
        let begun = || {
            let mut frames = FrameBudget::new(start);
            assert!(frames.allow(&[b'x'; PREFACE], start));
            frames
        };
        assert_eq!(allowed(&mut begun(), &frame(PING, 0, 8), 10_000, start), 1000);
        assert_eq!(allowed(&mut begun(), &frame(DATA, 0, 1), 10_000, start), 1000);
        let cancelled = [frame(HEADERS, 4, 30), frame(RST_STREAM, 0, 4)].concat();
        assert!((900..1100).contains(&allowed(&mut begun(), &cancelled, 10_000, start)));
        let call = [frame(HEADERS, 4, 30), frame(DATA, 0, 200), frame(DATA, END_STREAM, 0), frame(PING, 0, 8)].concat();
        assert_eq!(allowed(&mut begun(), &call, 10_000, start), 10_000);
        let mut slow = begun();
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            assert_eq!(allowed(&mut slow, &frame(PING, 0, 8), 90, now), 90);
        }
    }

    #[test]
    fn a_client_that_receives_may_acknowledge_and_one_that_is_only_answered_may_not() {
        const WINDOW_UPDATE: u8 = 8;
        let start = Instant::now();
        let mut frames = FrameBudget::new(start);
        assert!(frames.allow(&[b'x'; PREFACE], start));
        // 130 frames for each megabyte, in no time
        for _ in 0..1000 {
            frames.sent(1 << 20);
            let acknowledged = [frame(WINDOW_UPDATE, 0, 4).repeat(100), frame(PING, 0, 8).repeat(30)].concat();
            assert!(frames.allow(&acknowledged, start));
        }
        // a ping's answer has 17 bytes
        let mut flooding = FrameBudget::new(start);
        assert!(flooding.allow(&[b'x'; PREFACE], start));
        let ping = frame(PING, 0, 8);
        let allowed = (0..10_000).take_while(|_| {
            flooding.sent(17);
            flooding.allow(&ping, start)
        });
        assert!((1000..1010).contains(&allowed.count()));
    }

    #[test]
    fn bytes_may_come_in_any_pieces() {
        let start = Instant::now();
        let mut bytes = vec![b'x'; PREFACE];
        for _ in 0..1001 {
            bytes.extend(frame(PING, 0, 8));
        }
        for size in [1, 2, 7, 13, 4096] {
            let mut frames = FrameBudget::new(start);
            let (last, before) = (bytes.len() - 17, bytes.len() - 17);
            assert!(bytes[..before].chunks(size).all(|piece| frames.allow(piece, start)), "{size}");
            assert!(!bytes[last..].chunks(size).all(|piece| frames.allow(piece, start)), "{size}");
        }
    }
}
