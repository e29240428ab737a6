use super::*;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags, 0, 0, 0, 1], payload].concat()
}

/// All that is passed on of what comes in pieces of `size` bytes.
fn corrected(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut authority = Authority::new();
    bytes.chunks(size).flat_map(|piece| authority.correct(piece).unwrap_or_else(|| piece.to_vec())).collect()
}

/// `:method: POST`, `:scheme: http`, a path, then a field, then one that is indexed and one of a long value.
fn block(authority: &[u8]) -> Vec<u8> {
    let long = [b"\x40\x03abc\x7f\x81\x01".as_slice(), &[b'x'; 256]].concat();
    [b"\x83\x86\x3f\xe1\x1f\x44\x02/a".as_slice(), authority, b"\x41\x04test", &long].concat()
}

#[test]
fn an_empty_authority_gets_a_value_however_it_is_written() {
    for empty in [b"\x81".as_slice(), b"\x01\x00", b"\x11\x00", b"\x01\x80", b"\x00\x0a:authority\x00"] {
        let others = [frame(4, 0, &[0; 6]), frame(0, 0, b"\x81\x81"), frame(9, 4, b"\x81")].concat();
        for (flags, before, after) in [
            (4, b"".as_slice(), b"".as_slice()),
            (4 | PRIORITY, b"\x81\x81\x81\x81\x81", b""),
            (4 | PADDED, b"\x02", b"\x81\x81"),
            (4 | PADDED | PRIORITY, b"\x01\x81\x81\x81\x81\x81", b"\x81"),
        ] {
            let sent = frame(HEADERS, flags, &[before, &block(empty), after].concat());
            let wanted = frame(HEADERS, flags, &[before, &block(REPLACEMENT), after].concat());
            let sent = [&[b'x'; PREFACE], others.as_slice(), &sent, &others, &sent].concat();
            let wanted = [&[b'x'; PREFACE], others.as_slice(), &wanted, &others, &wanted].concat();
            for size in [1, 2, 7, 23, 300, sent.len()] {
                assert_eq!(corrected(&sent, size), wanted, "{empty:?} {flags} in pieces of {size}");
            }
        }
    }
}

#[test]
fn everything_else_is_passed_on_as_it_is() {
    let header = [b'x'; PREFACE];
    let odd: [&[u8]; 8] = [
        &frame(HEADERS, 4, &block(b"\x01\x04host")),
        // indexed: its size counts on both sides
        &frame(HEADERS, 4, &block(b"\x41\x00")),
        &frame(HEADERS, 4, b""),
        &frame(HEADERS, 4 | PADDED, b"\xff"),
        &frame(HEADERS, 4 | PRIORITY, b"\x81"),
        &frame(HEADERS, 4, b"\x00\x7f\xff\xff\xff\xff\x0f\x81"),
        &frame(HEADERS, 4, b"\x44\x7f\x81"),
        &frame(HEADERS, 4, &[vec![0x81], vec![0x83; MAX_PAYLOAD - 1]].concat()),
    ];
    for bytes in odd {
        let sent = [&header, bytes, bytes].concat();
        for size in [1, 5, sent.len()] {
            assert_eq!(corrected(&sent, size), sent);
        }
        let mut authority = Authority::new();
        assert_eq!(authority.correct(&sent), None, "nothing is copied");
        // nor when a frame of another kind comes in parts
        let data = frame(0, 1, b"data");
        assert_eq!(authority.correct(&[bytes, &data[..HEADER + 1]].concat()), None);
        assert_eq!(authority.correct(&[&data[HEADER + 1..], bytes].concat()), None);
    }
}

#[test]
fn what_is_held_is_bounded() {
    let mut authority = Authority::new();
    assert_eq!(authority.correct(&[b'x'; PREFACE]), None);
    // a HEADERS frame longer than any is passed on as it comes
    let begun = [0xff, 0xff, 0xff, HEADERS, 4, 0, 0, 0, 1];
    assert_eq!(authority.correct(&begun), None);
    assert_eq!(authority.correct(&[0x81; 100_000]), None);
    assert!(authority.held.is_empty());
}
