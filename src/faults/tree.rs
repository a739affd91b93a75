//! The tree that any of our texts becomes before it is read: TOML with its lines, JSON, variables of the environment.
//! Nothing is lost on the way that a reader could want to complain of: a name that stands twice stands here twice, and
//! an integer beyond every bound is still an integer.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::{At, Faults};

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where its first character stands.
    pub at: At,
    /// What it is.
    pub value: Value,
}

/// What a [`Node`] is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// JSON's `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A whole number, kept at the end of the range where it is beyond it.
    Integer(i128),
    /// A number written with a fraction or an exponent.
    Fraction,
    /// Text.
    Text(String),
    /// A variable's text, which stands for a value of any kind.
    Untyped(String),
    /// TOML's own date and time, as RFC 3339 writes it, with or without an offset.
    Time(String),
    /// A list.
    List(Vec<Node>),
    /// Named fields, in the order in which the parser gave them.
    Table(Vec<Entry>),
}

/// A named field.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Where the name was written.
    pub at: At,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// The value of the field `name`, if this is a table that has it.
    #[must_use]
    pub fn into_field(self, name: &str) -> Option<Self> {
        let Value::Table(entries) = self.value else { return None };
        entries.into_iter().find(|entry| entry.name == name).map(|entry| entry.node)
    }
}

impl Value {
    /// What kind of value this is, for a message; says nothing of its content.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "true or false",
            Self::Integer(_) => "an integer",
            Self::Fraction => "a number with a fraction",
            Self::Text(_) | Self::Untyped(_) => "text",
            Self::Time(_) => "a date and time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Reads TOML. Every error of syntax is noted with its line; `None` where there was one.
#[must_use]
pub fn from_toml(text: &str, faults: &Faults) -> Option<Node> {
    let lines = Lines::of(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut last = None;
    for error in &errors {
        let at = error.span().map_or(At::Nowhere, |span| lines.at(span.start));
        // One slip upsets all that follows on its line, so only the first complaint of a line is worth reading.
        if last.as_ref() != Some(&at) {
            let mend = "correct this line: name = value, texts in double quotes, [name] begins a section";
            faults.push(&at, "", format!("is not TOML: {}", error.message()), mend);
        }
        last = Some(at);
    }
    errors.is_empty().then(|| Node { at: At::Line(1), value: table(root.get_ref(), &lines) })
}

/// Reads JSON. The one error of syntax is noted with its line.
#[must_use]
pub fn from_json(text: &[u8], faults: &Faults) -> Option<Node> {
    serde_json::from_slice(text)
        .inspect_err(|error| {
            let at = u32::try_from(error.line()).map_or(At::Nowhere, At::Line);
            faults.push(&at, "", format!("is not JSON: {error}"), "send one JSON object");
        })
        .ok()
}

/// Where each line of a text begins.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(place, _)| place + 1);
        Self(std::iter::once(0).chain(after_breaks).collect())
    }

    fn at(&self, offset: usize) -> At {
        u32::try_from(self.0.partition_point(|start| *start <= offset)).map_or(At::Nowhere, At::Line)
    }
}

fn table(table: &DeTable<'_>, lines: &Lines) -> Value {
    let entry = |name: &Spanned<std::borrow::Cow<'_, str>>, value| Entry {
        name: name.get_ref().to_string(),
        at: lines.at(name.span().start),
        node: node(value, lines),
    };
    Value::Table(table.iter().map(|(name, value)| entry(name, value)).collect())
}

fn node(written: &Spanned<DeValue<'_>>, lines: &Lines) -> Node {
    let value = match written.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(digits) => Value::Integer(integer(digits)),
        DeValue::Float(_) => Value::Fraction,
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(time) => Value::Time(time.to_string()),
        DeValue::Array(list) => Value::List(list.iter().map(|item| node(item, lines)).collect()),
        DeValue::Table(fields) => table(fields, lines),
    };
    Node { at: lines.at(written.span().start), value }
}

/// Every bound of ours lies far inside the range, so an integer past its end is refused like one at its end.
fn integer(digits: &DeInteger<'_>) -> i128 {
    let past = if digits.as_str().starts_with('-') { i128::MIN } else { i128::MAX };
    i128::from_str_radix(digits.as_str(), digits.radix()).unwrap_or(past)
}

impl<'de> Deserialize<'de> for Node {
    /// From JSON, or from a `serde_json::Value`; without places.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Json).map(|value| Self { at: At::Nowhere, value })
    }
}

struct Json;

impl<'de> Visitor<'de> for Json {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        // JSON's reader gives an integer beyond 64 bits as a float of at least 2^63, which no fraction of ours reaches.
        const BEYOND_64_BITS: f64 = 9.2e18;
        Ok(match number {
            n if n >= BEYOND_64_BITS => Value::Integer(i128::MAX),
            n if n <= -BEYOND_64_BITS => Value::Integer(i128::MIN),
            _ => Value::Fraction,
        })
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut table = Vec::new();
        while let Some((name, node)) = fields.next_entry()? {
            table.push(Entry { name, at: At::Nowhere, node });
        }
        Ok(Value::Table(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toml(text: &str) -> Node {
        let faults = Faults::default();
        from_toml(text, &faults).unwrap_or_else(|| panic!("{:?}", faults.into_sorted()))
    }

    fn entries(node: &Node) -> &[Entry] {
        match &node.value {
            Value::Table(entries) => entries,
            other => panic!("{other:?} is no table"),
        }
    }

    #[test]
    fn every_name_and_value_knows_its_line() {
        let root = toml("a = 1\n\n[b]\nc = [\n  2,\n  3]\n\n[[d]]\ne = 4\n[[d]]\n");
        let [a, b, d] = entries(&root) else { panic!("{root:?}") };
        assert_eq!((&a.at, &a.node.at), (&At::Line(1), &At::Line(1)));
        assert_eq!((&b.at, &b.node.at), (&At::Line(3), &At::Line(3)));
        let Value::List(numbers) = &entries(&b.node)[0].node.value else { panic!("{b:?}") };
        assert_eq!([&numbers[0].at, &numbers[1].at], [&At::Line(5), &At::Line(6)]);
        let Value::List(tables) = &d.node.value else { panic!("{d:?}") };
        assert_eq!([&tables[0].at, &tables[1].at], [&At::Line(8), &At::Line(10)]);
    }

    #[test]
    fn numbers_keep_their_kind_however_they_are_written() {
        for (text, value) in [
            ("1_000", Value::Integer(1000)),
            ("+7", Value::Integer(7)),
            ("0xff", Value::Integer(255)),
            ("1.0", Value::Fraction),
            ("1e3", Value::Fraction),
            ("99999999999999999999999999999999999999999999", Value::Integer(i128::MAX)),
            ("-99999999999999999999999999999999999999999999", Value::Integer(i128::MIN)),
            ("1979-05-27 07:32:00Z", Value::Time("1979-05-27T07:32:00Z".into())),
        ] {
            assert_eq!(entries(&toml(&format!("a = {text}")))[0].node.value, value, "{text}");
        }
        for (text, value) in [
            ("18446744073709551615", Value::Integer(u64::MAX.into())),
            ("18446744073709551616", Value::Integer(i128::MAX)),
            ("-1", Value::Integer(-1)),
            ("1.5", Value::Fraction),
        ] {
            assert_eq!(from_json(text.as_bytes(), &Faults::default()).expect("JSON").value, value, "{text}");
        }
    }

    #[test]
    fn a_name_that_stands_twice_in_json_is_not_lost() {
        let root = from_json(br#"{"a":1,"a":2}"#, &Faults::default()).expect("JSON");
        assert_eq!(entries(&root).len(), 2);
    }

    #[test]
    fn syntax_errors_are_noted_with_their_lines() {
        let faults = Faults::default();
        assert_eq!(from_toml("a = 1\nb = \nc = 3\nd = = 4\na = 5\n", &faults), None);
        let lines: Vec<At> = faults.into_sorted().into_iter().map(|fault| fault.at).collect();
        assert_eq!(lines, [At::Line(2), At::Line(4), At::Line(5)]);
        let faults = Faults::default();
        assert_eq!(from_json(b"{\n\"a\": }", &faults), None);
        assert_eq!(faults.into_sorted()[0].at, At::Line(2));
    }
}
