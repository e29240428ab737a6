//! Requests with an empty `:authority`, which the HTTP/2 library takes for malformed and resets.
//!
//! VTAdmin before 23.0.7 and 24.0.4 sends such, and servers written in Go take them. So what a client sends is looked through:
//! in a HEADERS frame the field is given a value, and the frame's length is corrected. The fields that are replaced (RFC 7541:
//! the entry of the static table, or a literal that is not indexed) leave the compression's state as it is. A literal that
//! is indexed is left alone, for its size counts on both sides; encoders have no use for it, the static table having the
//! whole field.

use std::ops::Range;

/// Bytes that a client sends before its first frame.
const PREFACE: usize = 24;
/// Bytes of a frame's header.
const HEADER: usize = 9;
/// Longest payload of a frame that the HTTP/2 library takes unless told otherwise.
const MAX_PAYLOAD: usize = 16_384;
/// An idle connection keeps room for so many bytes.
const KEPT: usize = 512;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// `:authority`, empty: entry 1 of the static table.
const INDEXED: u8 = 0x81;
const NAME: &[u8] = b":authority";
/// `:authority: vtctld`, not indexed, its name being that of entry 1.
const REPLACEMENT: &[u8] = b"\x01\x06vtctld";

/// Corrects what one client sends, in whatever pieces it comes.
pub struct Authority {
    /// Bytes to pass on: the rest of the preface, or of a frame.
    pass: usize,
    /// The beginning of a frame that is not passed on yet: its header, and the payload of a HEADERS frame.
    held: Vec<u8>,
}

impl Authority {
    /// A connection that begins now.
    pub fn new() -> Self {
        Self { pass: PREFACE, held: Vec::new() }
    }

    /// What to pass on for the next bytes; `None` for the same bytes. It may be empty: then more is needed first.
    pub fn correct(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        // nearly always, for clients write whole frames
        if self.held.is_empty()
            && let Some(pass) = passes(self.pass, bytes)
        {
            self.pass = pass;
            return None;
        }
        let mut same = self.held.is_empty();
        let mut out = Vec::with_capacity(self.held.len() + bytes.len() + REPLACEMENT.len());
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.pass > 0 {
                out.extend_from_slice(take(&mut rest, &mut self.pass));
                continue;
            }
            let mut wanted = self.wanted().saturating_sub(self.held.len());
            self.held.extend_from_slice(take(&mut rest, &mut wanted));
            if self.held.len() < HEADER || self.held.len() < self.wanted() {
                continue;
            }
            let whole = self.held.len() > HEADER || length(&self.held) == 0;
            if whole {
                same &= !correct(&mut self.held);
            } else {
                self.pass = length(&self.held);
            }
            out.append(&mut self.held);
        }
        same &= self.held.is_empty();
        if self.held.is_empty() && self.held.capacity() > KEPT {
            self.held = Vec::new();
        }
        (!same).then_some(out)
    }

    /// How much of a frame is held before it is passed on: HEADERS as a whole, of others the header.
    fn wanted(&self) -> usize {
        if is_looked_at(&self.held) { HEADER + length(&self.held) } else { HEADER }
    }
}

/// How much is to be passed on after these bytes, so much of which is the rest of a frame; `None` when a frame of them is to be
/// corrected, or has to be held because it is cut off.
fn passes(rest: usize, bytes: &[u8]) -> Option<usize> {
    let mut at = rest;
    while at < bytes.len() {
        let frame = bytes.get(at..)?;
        let header = frame.get(..HEADER)?;
        let end = HEADER + length(header);
        if is_looked_at(header) && found(frame.get(..end)?).is_some() {
            return None;
        }
        at += end;
    }
    Some(at - bytes.len())
}

/// True for a HEADERS frame that has room for a value, by its header.
fn is_looked_at(frame: &[u8]) -> bool {
    let is_headers = frame.get(3) == Some(&HEADERS) && frame.len() >= HEADER;
    is_headers && length(frame) + REPLACEMENT.len() <= MAX_PAYLOAD
}

/// Takes up to `count` bytes, and counts them.
fn take<'b>(bytes: &mut &'b [u8], count: &mut usize) -> &'b [u8] {
    let (taken, rest) = bytes.split_at((*count).min(bytes.len()));
    *bytes = rest;
    *count -= taken.len();
    taken
}

/// The length of a frame's payload.
fn length(frame: &[u8]) -> usize {
    match frame {
        [a, b, c, ..] => usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c),
        _ => 0,
    }
}

/// Gives a whole HEADERS frame its authority; true when it had an empty one.
fn correct(frame: &mut Vec<u8>) -> bool {
    let Some(found) = found(frame) else { return false };
    frame.splice(found, REPLACEMENT.iter().copied());
    let [_, a, b, c] = u32::try_from(frame.len() - HEADER).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(length) = frame.get_mut(..3) {
        length.copy_from_slice(&[a, b, c]);
    }
    true
}

/// Where a whole HEADERS frame has an empty authority that can be replaced.
fn found(frame: &[u8]) -> Option<Range<usize>> {
    let block = fields(frame)?;
    let found = empty_authority(frame.get(block.clone())?)?;
    Some(block.start + found.start..block.start + found.end)
}

/// Where the fields of a HEADERS frame are: without padding and priority.
fn fields(frame: &[u8]) -> Option<Range<usize>> {
    let (kind, flags) = (*frame.get(3)?, *frame.get(4)?);
    let (mut start, mut end) = (HEADER, frame.len());
    if kind != HEADERS {
        return None;
    }
    if flags & PADDED != 0 {
        end = end.checked_sub(usize::from(*frame.get(start)?))?;
        start += 1;
    }
    if flags & PRIORITY != 0 {
        start += 5;
    }
    (start <= end).then_some(start..end)
}

/// Where an empty `:authority` is that can be replaced.
fn empty_authority(block: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    while let Some(first) = block.get(at) {
        let end = match first {
            &INDEXED => return Some(at..at + 1),
            0x80.. => integer(block, at, 7)?.1,
            0x40..0x80 => literal(block, at, 6)?.end,
            0x20..0x40 => integer(block, at, 5)?.1,
            _ => {
                let field = literal(block, at, 4)?;
                if field.is_authority && field.is_empty {
                    return Some(at..field.end);
                }
                field.end
            }
        };
        at = end;
    }
    None
}

/// A field whose value is spelled out.
struct Literal {
    is_authority: bool,
    is_empty: bool,
    end: usize,
}

fn literal(block: &[u8], at: usize, bits: u32) -> Option<Literal> {
    let (index, mut next) = integer(block, at, bits)?;
    let mut is_authority = index == 1;
    if index == 0 {
        let name = string(block, next)?;
        next = name.end;
        is_authority = block.get(name) == Some(NAME);
    }
    let value = string(block, next)?;
    Some(Literal { is_authority, is_empty: value.is_empty(), end: value.end })
}

/// Where the bytes of a string are.
fn string(block: &[u8], at: usize) -> Option<Range<usize>> {
    let (length, start) = integer(block, at, 7)?;
    let end = start.checked_add(length).filter(|end| *end <= block.len())?;
    Some(start..end)
}

/// An integer whose first byte has so many bits for it, and where it ends.
fn integer(block: &[u8], at: usize, bits: u32) -> Option<(usize, usize)> {
    let most = (1usize << bits) - 1;
    let mut value = usize::from(*block.get(at)?) & most;
    let mut at = at + 1;
    if value < most {
        return Some((value, at));
    }
    for shift in [0, 7, 14, 21] {
        let byte = *block.get(at)?;
        at += 1;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, at));
        }
    }
    None
}

#[cfg(test)]
mod tests;
