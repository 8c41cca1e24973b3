//! A report in plain words, and as JSON.

use serde_json::{Map, Value, json};

use crate::credential::verify::{Report, Subject, Verdict};
use crate::credential::{
    Benefit, Campaign, Coupon, Credential, Membership, ReceiptKind, ReceiptStub, Signed, Terms,
};
use crate::primitives::{Amount, Currency, UnixSeconds};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// What it is, by whom, worth what, until when, and why the verdict is what it is.
pub fn sentences(report: &Report) -> String {
    let believed = !matches!(report.verdict, Verdict::Forged | Verdict::UnknownIssuer);
    let mut text = format!("{}: {}", title(report.verdict), what(report, believed));
    let mut clauses = report.whys.iter().map(|why| why.clause(&UnixSeconds::rfc3339));
    if let Some(first) = clauses.next() {
        text.push_str(if believed { "; " } else { ", but " });
        text.push_str(&first);
    }
    for clause in clauses {
        text.push_str("; also ");
        text.push_str(&clause);
    }
    text.push('.');
    for note in &report.notes {
        text.push(' ');
        text.push_str(&note.sentence(&UnixSeconds::rfc3339));
    }
    text
}

fn title(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "Valid",
        Verdict::NotYetValid => "Not yet valid",
        Verdict::Expired => "Expired",
        Verdict::Revoked => "Revoked",
        Verdict::Suspended => "Suspended",
        Verdict::UsedUp => "Used up",
        Verdict::Undetermined => "Undetermined",
        Verdict::UnknownIssuer => "Unknown issuer",
        Verdict::Forged => "Forged or malformed",
    }
}

fn what(report: &Report, believed: bool) -> String {
    let Some(subject) = &report.subject else {
        return "something was presented".to_owned();
    };
    let issuer = report.issuer.as_deref().unwrap_or("an unknown issuer");
    if !believed {
        return format!("this claims to be a {}", subject.kind_name());
    }
    match subject {
        Subject::Credential(Credential::Coupon(coupon)) => {
            let worth = coupon_worth(coupon.content(), report.campaign.as_deref());
            format!("a coupon of {issuer}, {worth}, {}", period(report))
        }
        Subject::Credential(Credential::Receipt(receipt)) => receipt_words(receipt.content(), issuer),
        Subject::Credential(Credential::Membership(member)) => {
            let member = member.content();
            format!(
                "a membership of {issuer}, class {:?}, member since {}, {}",
                member.class,
                day(member.member_since_days),
                period(report)
            )
        }
        Subject::Credential(Credential::Campaign(campaign)) => {
            let campaign = campaign.content();
            format!(
                "a campaign of {issuer}, {:?}, {}, {}",
                campaign.terms.name,
                benefit_words(&campaign.terms, None),
                period(report)
            )
        }
        Subject::StatusList(token) => {
            let list = token.list();
            format!(
                "a status list of {issuer}, {}, signed {}, good until {}",
                list.uri,
                list.issued_at.rfc3339(),
                list.expires.rfc3339()
            )
        }
    }
}

fn period(report: &Report) -> String {
    let until = report
        .not_after
        .map(|at| format!("until {}", at.rfc3339()))
        .unwrap_or_default();
    match report.not_before {
        Some(from) => format!("valid from {} {until}", from.rfc3339()),
        None => format!("valid {until}"),
    }
}

fn receipt_words(receipt: &ReceiptStub, issuer: &str) -> String {
    let trade = if receipt.kind == ReceiptKind::Training {
        " (practice at the till, no sale)"
    } else {
        ""
    };
    format!(
        "a receipt of {issuer}, {}{trade}, over {}, number {} of the register {:?}, issued {}; a receipt does not expire",
        receipt.kind.word(),
        receipt.currency.show(receipt.total),
        receipt.sequence_number,
        receipt.register.as_str(),
        receipt.issued_at.rfc3339()
    )
}

fn coupon_worth(coupon: &Coupon, campaign: Option<&Campaign>) -> String {
    match (campaign, coupon.amount) {
        (Some(campaign), own) => format!("worth {}", benefit_words(&campaign.terms, own)),
        (None, Some(own)) => format!("worth {own} minor units of its campaign's currency"),
        (None, None) => "worth what its campaign says".to_owned(),
    }
}

/// What a coupon under these terms gives, `own` being its own amount.
pub fn benefit_words(terms: &Terms, own: Option<Amount>) -> String {
    let show = |amount| terms.currency.show(amount);
    match terms.benefit {
        Benefit::AmountOff { amount } => format!("{} off", show(own.unwrap_or(amount))),
        Benefit::StoredValue { value } => format!("{} of stored value", show(own.unwrap_or(value))),
        Benefit::PercentOff { basis_points, cap } => {
            let at_most = cap.map(|cap| format!(", at most {}", show(cap)));
            format!("{} off{}", percent(basis_points), at_most.unwrap_or_default())
        }
    }
}

fn percent(basis_points: u32) -> String {
    let (whole, part) = (basis_points / 100, basis_points % 100);
    match (part, part % 10) {
        (0, _) => format!("{whole} %"),
        (_, 0) => format!("{whole}.{} %", part / 10),
        _ => format!("{whole}.{part:02} %"),
    }
}

fn day(days: u32) -> String {
    let midnight = UnixSeconds::rfc3339(UnixSeconds(u64::from(days) * DAY));
    midnight
        .split_once('T')
        .map_or(midnight.clone(), |(date, _)| date.to_owned())
}

/// The report as one JSON object.
pub fn json(report: &Report, at: UnixSeconds) -> Value {
    let clauses: Vec<String> = report
        .whys
        .iter()
        .map(|why| why.clause(&UnixSeconds::rfc3339))
        .collect();
    let notes: Vec<String> = report
        .notes
        .iter()
        .map(|note| note.sentence(&UnixSeconds::rfc3339))
        .collect();
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    put("verdict", report.verdict.word().into());
    put("exit_code", report.verdict.exit_code().into());
    put("kind", kind(report).into());
    put("reason", sentences(report).into());
    put("reasons", clauses.into());
    put("notes", notes.into());
    put("judged_at", at.rfc3339().into());
    put("issuer", report.issuer.clone().into());
    put("not_before", report.not_before.map(UnixSeconds::rfc3339).into());
    put("not_after", report.not_after.map(UnixSeconds::rfc3339).into());
    put(
        "claims",
        report
            .subject
            .as_ref()
            .map_or(Value::Null, |subject| claims(subject, report)),
    );
    Value::Object(members)
}

fn kind(report: &Report) -> Option<&'static str> {
    Some(match report.subject.as_ref()? {
        Subject::Credential(credential) => credential.kind_name(),
        Subject::StatusList(_) => "status_list",
    })
}

fn claims(subject: &Subject, report: &Report) -> Value {
    match subject {
        Subject::Credential(Credential::Coupon(coupon)) => coupon_claims(coupon, report.campaign.as_deref()),
        Subject::Credential(Credential::Receipt(receipt)) => receipt_claims(receipt),
        Subject::Credential(Credential::Membership(member)) => membership_claims(member.content()),
        Subject::Credential(Credential::Campaign(campaign)) => {
            let content = campaign.content();
            json!({
                "id": campaign.id().to_string(),
                "kid": campaign.kid().to_string(),
                "name": content.terms.name,
                "text": content.terms.text,
                "currency": content.terms.currency.letters(),
                "benefit": benefit(&content.terms.benefit),
                "issued_at": content.issued_at.rfc3339(),
            })
        }
        Subject::StatusList(token) => json!({
            "kid": token.sign1().kid().to_string(),
            "uri": token.list().uri,
            "issued_at": token.list().issued_at.rfc3339(),
            "ttl": token.list().ttl,
            "statuses": token.list().statuses.len(),
        }),
    }
}

fn coupon_claims(coupon: &Signed<Coupon>, campaign: Option<&Campaign>) -> Value {
    let content = coupon.content();
    json!({
        "kid": coupon.kid().to_string(),
        "campaign": content.campaign.to_string(),
        "campaign_name": campaign.map(|campaign| campaign.terms.name.as_str()),
        "benefit": campaign.map(|campaign| benefit(&campaign.terms.benefit)),
        "currency": campaign.map(|campaign| campaign.terms.currency.letters()),
        "amount": content.amount.map(Amount::minor_units),
        "status": {"uri": content.status.uri, "index": content.status.index},
        "bound_to_holder": content.holder.is_some(),
    })
}

fn receipt_claims(receipt: &Signed<ReceiptStub>) -> Value {
    let content = receipt.content();
    let currency: Currency = content.currency;
    json!({
        "id": receipt.tag().to_string(),
        "kid": receipt.kid().to_string(),
        "type": content.kind.word(),
        "total": content.total.minor_units(),
        "currency": currency.letters(),
        "register": content.register.as_str(),
        "sequence_number": content.sequence_number,
        "issued_at": content.issued_at.rfc3339(),
        "details_root": content.details_root.to_string(),
    })
}

fn membership_claims(member: &Membership) -> Value {
    json!({
        "class": member.class,
        "member_since": day(member.member_since_days),
        "status": {"uri": member.status.uri, "index": member.status.index},
    })
}

fn benefit(benefit: &Benefit) -> Value {
    match benefit {
        Benefit::AmountOff { amount } => json!({"kind": "amount_off", "amount": amount.minor_units()}),
        Benefit::PercentOff { basis_points, cap } => {
            json!({"kind": "percent_off", "basis_points": basis_points, "cap": cap.map(Amount::minor_units)})
        }
        Benefit::StoredValue { value } => json!({"kind": "stored_value", "amount": value.minor_units()}),
    }
}
