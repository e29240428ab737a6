use bytes::{BufMut, Bytes};
use futures::StreamExt;
use proptest::prelude::*;
use tonic::Code;

use super::*;

/// "hello" in snappy's framed form, by hand: identifier of the stream, then one chunk that is not compressed with its
/// masked CRC-32C.
const HELLO: &[u8] = &[
    0xff, 0x06, 0x00, 0x00, 0x73, 0x4e, 0x61, 0x50, 0x70, 0x59, 0x01, 0x09, 0x00, 0x00, 0xbb, 0x1f, 0x1c, 0x19, 0x68,
    0x65, 0x6c, 0x6c, 0x6f,
];

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![flag];
    frame.put_u32(message.len().try_into().unwrap());
    frame.extend(message);
    frame
}

/// A body that comes in pieces of `size` bytes.
fn body(bytes: &[u8], size: usize) -> Body {
    let pieces: Vec<_> =
        bytes.chunks(size).map(|piece| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(piece)))).collect();
    Body::new(http_body_util::StreamBody::new(futures::stream::iter(pieces)))
}

async fn read(body: Body) -> Result<Vec<u8>, Status> {
    let mut frames = http_body_util::BodyStream::new(body);
    let mut found = Vec::new();
    while let Some(frame) = frames.next().await {
        found.extend_from_slice(&frame?.into_data().unwrap());
    }
    Ok(found)
}

#[tokio::test]
async fn a_message_framed_by_hand_is_understood() {
    for size in [1, 3, 1000] {
        let mut sent = framed(1, HELLO);
        sent.extend(framed(0, b"plain"));
        let expected = [framed(0, b"hello"), framed(0, b"plain")].concat();
        assert_eq!(read(decompress(body(&sent, size), 100)).await.unwrap(), expected, "{size}");
    }
}

#[tokio::test]
async fn a_small_message_that_swells_is_refused() {
    let swollen = read(compress(body(&framed(0, &vec![0; 1 << 20]), 1 << 16))).await.unwrap();
    assert!(swollen.len() < 1 << 17, "{}", swollen.len());
    let refused = read(decompress(body(&swollen, 1 << 16), 1 << 16)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert_eq!(read(decompress(body(&swollen, 1 << 16), 1 << 20)).await.unwrap().len(), (1 << 20) + 5);
    let announced = [&[1, 0xff, 0xff, 0xff, 0xff][..], b"x"].concat();
    let refused = read(decompress(body(&announced, 6), 1 << 16)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
}

#[tokio::test]
async fn garbage_and_cut_messages_are_errors() {
    let refused = read(decompress(body(&framed(1, b"not snappy"), 100), 100)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Internal, "{refused}");
    let cut = &framed(1, HELLO)[..12];
    assert_eq!(read(decompress(body(cut, 100), 100)).await.unwrap_err().code(), Code::Internal);
    assert_eq!(read(decompress(body(&[], 1), 100)).await.unwrap(), b"");
}

proptest! {
    #[test]
    fn what_is_compressed_comes_back(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 0..5), size in 1usize..300) {
        let sent: Vec<u8> = messages.iter().flat_map(|message| framed(0, message)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let back = runtime.block_on(read(decompress(compress(body(&sent, size)), 5000))).unwrap();
        prop_assert_eq!(back, sent);
    }
}
