//! MySQL's binary JSON as MySQL prints it: blanks after `:` and `,`, members in stored order.

use std::io;

use mysql_async::binlog::jsonb::{JsonDom, JsonNumber, JsonScalar, Value};

pub(super) fn text(value: &Value<'_>) -> io::Result<Vec<u8>> {
    let mut out = String::new();
    push(value, &mut out)?;
    Ok(out.into_bytes())
}

fn push(value: &Value<'_>, out: &mut String) -> io::Result<()> {
    match value {
        Value::SmallArray(array) => push_all(array.iter(), out, ('[', ']'), push),
        Value::LargeArray(array) => push_all(array.iter(), out, ('[', ']'), push),
        Value::SmallObject(object) => push_all(object.iter(), out, ('{', '}'), |(key, value), out| {
            push_string(&key.value(), out);
            out.push_str(": ");
            push(value, out)
        }),
        Value::LargeObject(object) => push_all(object.iter(), out, ('{', '}'), |(key, value), out| {
            push_string(&key.value(), out);
            out.push_str(": ");
            push(value, out)
        }),
        scalar => {
            match scalar.clone().parse()? {
                JsonDom::Scalar(scalar) => push_scalar(&scalar, out),
                JsonDom::Container(container) => out.push_str(&serde_json::Value::from(container).to_string()),
            }
            Ok(())
        }
    }
}

fn push_all<T>(
    items: impl Iterator<Item = io::Result<T>>,
    out: &mut String,
    (open, close): (char, char),
    push: impl Fn(&T, &mut String) -> io::Result<()>,
) -> io::Result<()> {
    out.push(open);
    for (n, item) in items.enumerate() {
        if n > 0 {
            out.push_str(", ");
        }
        push(&item?, out)?;
    }
    out.push(close);
    Ok(())
}

fn push_scalar(scalar: &JsonScalar, out: &mut String) {
    match scalar {
        JsonScalar::Number(JsonNumber::Decimal(number)) => out.push_str(&number.to_string()),
        JsonScalar::Number(JsonNumber::Double(number)) => {
            out.push_str(&serde_json::Value::from(*number).to_string().replace("e+", "e"));
        }
        other => out.push_str(&serde_json::Value::from(other.clone()).to_string()),
    }
}

fn push_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}
