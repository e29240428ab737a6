//! One message at a time.

use std::io::{Read, Write};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use snap::read::FrameDecoder;
use snap::write::FrameEncoder;
use tonic::Status;

/// Flag and length.
const PREFIX: usize = 5;

/// Which way messages are rewritten.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    Compress,
    Decompress { max_message: usize },
}

impl Direction {
    /// Takes the whole messages off the front of `pending` and answers them rewritten.
    pub(super) fn rewrite(self, pending: &mut BytesMut) -> Result<Bytes, Status> {
        let mut whole = BytesMut::new();
        while let Some((prefix, rest)) = pending.split_first_chunk::<PREFIX>() {
            let [flag, length @ ..] = *prefix;
            let length = u32::from_be_bytes(length) as usize;
            if let Self::Decompress { max_message } = self
                && length > max_message.saturating_add(max_message / 4).saturating_add(64)
            {
                return Err(too_large(length, max_message));
            }
            if rest.len() < length {
                break;
            }
            pending.advance(PREFIX);
            let message = pending.split_to(length);
            match (self, flag) {
                (Self::Compress, 0) => put(&mut whole, 1, &compressed(&message)?)?,
                (Self::Decompress { max_message }, 1) => put(&mut whole, 0, &decompressed(&message, max_message)?)?,
                (_, flag) => put(&mut whole, flag, &message)?,
            }
        }
        Ok(whole.freeze())
    }
}

fn put(whole: &mut BytesMut, flag: u8, message: &[u8]) -> Result<(), Status> {
    let length = u32::try_from(message.len()).map_err(|_| Status::internal("a message is larger than 4 GiB"))?;
    whole.put_u8(flag);
    whole.put_u32(length);
    whole.put_slice(message);
    Ok(())
}

fn compressed(message: &[u8]) -> Result<Vec<u8>, Status> {
    let fail = |error: &dyn std::fmt::Display| Status::internal(format!("grpc: error while compressing: {error}"));
    let mut encoder = FrameEncoder::new(Vec::with_capacity(message.len() / 2 + 32));
    encoder.write_all(message).map_err(|error| fail(&error))?;
    encoder.into_inner().map_err(|error| fail(error.error()))
}

/// At most one byte more than `max_message` is ever made of it.
fn decompressed(message: &[u8], max_message: usize) -> Result<Vec<u8>, Status> {
    let mut found = Vec::new();
    let bound = u64::try_from(max_message).unwrap_or(u64::MAX).saturating_add(1);
    FrameDecoder::new(message)
        .take(bound)
        .read_to_end(&mut found)
        .map_err(|error| Status::internal(format!("grpc: failed to decompress the received message: {error}")))?;
    if found.len() > max_message {
        let text = format!("grpc: received message after decompression larger than max {max_message}");
        return Err(Status::resource_exhausted(text));
    }
    Ok(found)
}

fn too_large(length: usize, max_message: usize) -> Status {
    Status::resource_exhausted(format!("grpc: received message larger than max ({length} vs. {max_message})"))
}
