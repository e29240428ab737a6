use proptest::prelude::*;

use super::*;

fn range(text: &str) -> KeyRange {
    parse(text).unwrap()
}

#[test]
fn parses_what_stock_parses() {
    assert!(is_complete(Some(&range("0"))));
    assert!(is_complete(Some(&range("-"))));
    assert!(is_complete(None));
    assert_eq!(print(Some(&range("40-C0"))), "40-c0");
    for bad in ["1", "x-", "8-", "-8", "80", "", "-80-", "40_80", "é-", "-éé"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    assert_eq!(parse("80-40").unwrap_err().to_string(), "malformed spec: shard limits should be in order: \"80-40\"");
}

#[test]
fn intersections_respect_open_ends_and_trailing_zeros() {
    let cases = [("-80", "80-", false), ("-80", "40-c0", true), ("-", "80-", true), ("-8000", "80-", false)];
    for (a, b, expected) in cases {
        assert_eq!(intersects(Some(&range(a)), Some(&range(b))), expected, "{a} {b}");
        assert_eq!(intersects(Some(&range(b)), Some(&range(a))), expected, "{b} {a}");
    }
    assert!(equal(None, Some(&range("-"))));
    assert!(equal(Some(&range("-80")), Some(&range("-8000"))));
}

#[test]
fn partitions_are_proved() {
    let check = |names: &[&str]| {
        let ranges: Vec<KeyRange> = names.iter().map(|n| range(n)).collect();
        partition(ranges.iter().map(Some))
    };
    assert_eq!(check(&["-"]), Ok(()));
    assert_eq!(check(&["80-", "-80"]), Ok(()));
    assert_eq!(check(&["55-aa", "aa-", "-55"]), Ok(()));
    assert!(check(&["-80"]).unwrap_err().contains("from 80"));
    assert!(check(&["40-", "-20"]).unwrap_err().contains("from 20 to 40"));
    assert!(check(&["-80", "40-"]).unwrap_err().contains("overlap"));
    assert!(check(&["-", "-"]).unwrap_err().contains("overlap"));
    assert!(check(&["-", "-80", "80-"]).unwrap_err().contains("overlap"));
    assert!(check(&[]).is_err());
}

fn any_range() -> impl Strategy<Value = KeyRange> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..3);
    (bytes.clone(), bytes).prop_map(|(start, end)| KeyRange { start, end })
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,12}") {
        if let Ok(parsed) = parse(&text) && text != "0" {
            prop_assert!(equal(Some(&parse(&print(Some(&parsed))).unwrap()), Some(&parsed)));
        }
    }

    #[test]
    fn a_common_id_means_an_intersection(a in any_range(), b in any_range(), id in proptest::collection::vec(any::<u8>(), 0..4)) {
        if contains(Some(&a), &id) && contains(Some(&b), &id) {
            prop_assert!(intersects(Some(&a), Some(&b)));
        }
    }

    #[test]
    fn a_proved_partition_holds_every_id_once(
        mut cuts in proptest::collection::vec(proptest::collection::vec(1u8.., 1..3), 0..5),
        id in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        cuts.sort();
        cuts.dedup();
        let bounds: Vec<Vec<u8>> = std::iter::once(vec![]).chain(cuts).chain(std::iter::once(vec![])).collect();
        let ranges: Vec<KeyRange> =
            bounds.windows(2).map(|w| KeyRange { start: w[0].clone(), end: w[1].clone() }).collect();
        prop_assert_eq!(partition(ranges.iter().map(Some)), Ok(()));
        prop_assert_eq!(ranges.iter().filter(|r| contains(Some(r), &id)).count(), 1);
    }
}
