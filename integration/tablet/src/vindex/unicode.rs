//! The collation key of the `unicode_loose` vindexes: primary weights of the root collation of CLDR 23, case and accents
//! ignored, punctuation not.

use unicode_normalization::UnicodeNormalization;

use super::Error;

/// Weights of `a` to `z`, which are also those of `A` to `Z`.
const LETTERS: [u16; 26] = [
    0x15ef, 0x1605, 0x161d, 0x1631, 0x164c, 0x1684, 0x1691, 0x16b4, 0x16cd, 0x16e6, 0x16ff, 0x1711, 0x1741, 0x174f,
    0x1771, 0x1796, 0x17ab, 0x17bd, 0x17f3, 0x1816, 0x1836, 0x185f, 0x1871, 0x187b, 0x1880, 0x1895,
];

/// The two-byte weights of the text without its trailing spaces. Compatible characters are decomposed first, so accented
/// Latin letters count as the bare letter.
pub(super) fn key(vindex: &'static str, text: &[u8]) -> Result<Vec<u8>, Error> {
    let text = std::str::from_utf8(text)
        .map_err(|_| Error::NotUtf8 { vindex, text: String::from_utf8_lossy(text).into_owned() })?;
    let mut key = Vec::with_capacity(text.len() * 2);
    for c in text.trim_end_matches(' ').nfkd() {
        match weight(c).ok_or(Error::NoWeight { vindex, code: c.into() })? {
            0 => {}
            weight => key.extend_from_slice(&weight.to_be_bytes()),
        }
    }
    Ok(key)
}

/// 0 is ignored; `None` for characters beyond ASCII and the combining marks that accented Latin letters decompose into.
fn weight(c: char) -> Option<u16> {
    let code = u32::from(c);
    let ascii = match c {
        'a'..='z' | 'A'..='Z' => return LETTERS.get(usize::from(c.to_ascii_lowercase() as u8 - b'a')).copied(),
        '0'..='9' => 0x14e6 + u16::try_from(code - u32::from('0')).ok()?,
        '\t'..='\r' => 0x0100 + u16::try_from(code - u32::from('\t')).ok()?,
        ' ' => 0x0109,
        '_' => 0x010b,
        '-' => 0x010d,
        ',' => 0x0120,
        ';' => 0x0131,
        ':' => 0x0136,
        '!' => 0x015d,
        '?' => 0x0162,
        '.' => 0x0172,
        '\'' => 0x01e9,
        '"' => 0x01f0,
        '(' => 0x01fa,
        ')' => 0x01fb,
        '[' => 0x01fc,
        ']' => 0x01fd,
        '{' => 0x01fe,
        '}' => 0x01ff,
        '@' => 0x026b,
        '*' => 0x026c,
        '/' => 0x0271,
        '\\' => 0x0272,
        '&' => 0x0273,
        '#' => 0x0275,
        '%' => 0x0276,
        '`' => 0x030f,
        '^' => 0x0312,
        '+' => 0x049c,
        '<' => 0x04a0,
        '=' => 0x04a1,
        '>' => 0x04a2,
        '|' => 0x04a4,
        '~' => 0x04a6,
        '$' => 0x13ef,
        '\0'..='\x1f' | '\x7f' | '\u{300}'..='\u{333}' => 0,
        _ => return None,
    };
    Some(ascii)
}
