//! Exact schemas of scalars: what a schema allows is what the node reads, and
//! the other way round.

use serde_json::{Value, json};

use super::codes;
use crate::primitives::{Currency, limits};

/// Text without control characters.
const ONE_LINE: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";

/// Replaces what derived schemas leave open.
pub fn refine(schemas: &mut Value) {
    schemas["Currency"] = json!({
        "type": "string", "enum": currencies(), "example": "EUR",
        "description": "The ISO 4217 letters of a currency that has a minor unit.",
    });
    for (name, places) in [
        ("Quantity", limits::QUANTITY_PLACES_MAX),
        ("UnitPrice", limits::UNIT_PRICE_PLACES_MAX),
        ("Rate", limits::RATE_PLACES_MAX),
    ] {
        schemas[name]["pattern"] = json!(decimal(places));
    }
    // A reference is text on one line; JSON Schema counts its characters, the
    // node its bytes.
    schemas["TillReference"]["pattern"] = json!(ONE_LINE);
    for member in ["description", "unit"] {
        schemas["Line"]["properties"][member]["pattern"] = json!(ONE_LINE);
    }
    schemas["Erasure"]["properties"]["reason"]["pattern"] = json!(ONE_LINE);
    schemas["TillReference"]["x-bytes-max"] = json!(limits::REFERENCE_BYTES_MAX);
    for (schema, member, most) in [
        ("Revocation", "reason", limits::REASON_BYTES_MAX),
        ("Erasure", "reason", limits::REASON_BYTES_MAX),
        ("Line", "description", limits::DESCRIPTION_BYTES_MAX),
        ("Line", "unit", limits::UNIT_BYTES_MAX),
        ("Campaign", "name", limits::CAMPAIGN_NAME_BYTES_MAX),
        ("Campaign", "text", limits::CAMPAIGN_TEXT_BYTES_MAX),
    ] {
        schemas[schema]["properties"][member]["x-bytes-max"] = json!(most);
    }
    // Printable, without a space at either end.
    schemas["Register"]["pattern"] = json!("^[!-~]([ -~]{0,17}[!-~])?$");
    schemas["CampaignId"]["pattern"] = json!("^[A-Za-z0-9_-]{21}[AQgw]$");
    // A list's number, then an index below 131,072.
    schemas["CouponName"]["pattern"] = json!(
        "^(0|[1-9][0-9]{0,8})-(0|[1-9][0-9]{0,4}|1[0-2][0-9]{4}|130[0-9]{3}|1310[0-6][0-9]|13107[01])$"
    );
    schemas["Time"]["pattern"] = json!(
        "^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:\
         [0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
    );
    for variant in schemas["Benefit"]["oneOf"].as_array_mut().into_iter().flatten() {
        variant["additionalProperties"] = json!(false);
    }
    let answers = &mut schemas["ValidationAnswer"]["oneOf"];
    answers[0]["properties"]["valid"]["const"] = json!(true);
    let refused = &mut answers[1]["allOf"][1]["properties"];
    refused["valid"]["const"] = json!(false);
    refused["code"]["enum"] = json!(codes::of_refused_validation());
    schemas["Revocation"]["oneOf"] = exactly_one_of(&["coupon", "name", "batch", "campaign"]);
    schemas["Erasure"]["oneOf"] = exactly_one_of(&["receipt", "member"]);
}

fn currencies() -> Value {
    let mut letters: Vec<&str> = (0..1_000)
        .filter_map(|number| Currency::from_number(number).ok())
        .map(Currency::letters)
        .collect();
    letters.sort_unstable();
    json!(letters)
}

/// At most 15 digits, of which up to `places` stand after the point.
fn decimal(places: u8) -> String {
    let whole = |more: usize| match more {
        0 => "[0-9]".to_owned(),
        more => format!("(0|[1-9][0-9]{{0,{more}}})"),
    };
    let most = limits::DECIMAL_DIGITS_MAX - 1;
    let forms = (0..=usize::from(places)).map(|places| match places {
        0 => whole(most),
        places => format!("{}\\.[0-9]{{{places}}}", whole(most - places)),
    });
    format!("^-?({})$", forms.collect::<Vec<_>>().join("|"))
}

/// One of `members` is there, and the others are absent or null.
fn exactly_one_of(members: &[&str]) -> Value {
    let forms = members.iter().map(|named| {
        let properties = members.iter().map(|member| {
            let schema = if member == named {
                json!({"not": {"type": "null"}})
            } else {
                json!({"type": "null"})
            };
            ((*member).to_owned(), schema)
        });
        json!({"required": [named], "properties": Value::Object(properties.collect())})
    });
    Value::Array(forms.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_fifteen_digits_in_all() {
        assert_eq!(
            decimal(2),
            r"^-?((0|[1-9][0-9]{0,14})|(0|[1-9][0-9]{0,13})\.[0-9]{1}|(0|[1-9][0-9]{0,12})\.[0-9]{2})$"
        );
    }
}
