//! The Complete Journey (84.51°): a year of grocery purchases, as
//! `scripts/complete-journey-csv` writes them. docs/import.md says which
//! column becomes what.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use csv::StringRecord;
use jiff::tz::TimeZone;

use super::number;
use super::replay::{Replay, Use};
use super::rows::{Before, Encoding, Fields, Layout, Watch};
use super::sale::{Head, Row, Rules, description};
use super::zone::When;
use crate::credential::details::Line;
use crate::primitives::{Currency, limits};

/// The files that are read.
pub const TRANSACTIONS: &str = "transactions.csv";
const PRODUCTS: &str = "products.csv";

/// The tender of exports that do not say how a purchase was paid.
pub const TENDER_NOT_RECORDED: &str = "not_recorded";

const CURRENCY: &str = "USD";

const COLUMNS: [&str; 7] = [
    "household_id",
    "store_id",
    "basket_id",
    "product_id",
    "quantity",
    "sales_value",
    "transaction_timestamp",
];

/// What coupons took off a line.
const COUPON_DISCOUNT: &str = "coupon_disc";

/// Which columns of `transactions.csv` say what.
pub struct CompleteJourney {
    rules: Rules,
    register: Option<String>,
    products: Products,
    currency: Currency,
    /// Where [`COLUMNS`] stand.
    places: [usize; COLUMNS.len()],
    /// Where the coupon discount stands, if coupons are replayed.
    coupon_discount: Option<usize>,
    columns: usize,
}

impl CompleteJourney {
    /// Reads `products.csv` in `directory`, and takes the header of
    /// `transactions.csv`.
    ///
    /// # Errors
    /// What cannot be read, and a column that is missing.
    pub fn new(
        directory: &Path,
        header: &StringRecord,
        zone: TimeZone,
        register: Option<String>,
    ) -> anyhow::Result<Self> {
        let mut places = [0; COLUMNS.len()];
        for (place, name) in places.iter_mut().zip(COLUMNS) {
            *place = column(header, name).with_context(|| format!("in {TRANSACTIONS}"))?;
        }
        Ok(Self {
            rules: Rules {
                name: "complete-journey".to_owned(),
                prices_include_tax: true,
                times_may_differ: false,
                zone,
            },
            register,
            products: Products::read(&directory.join(PRODUCTS))?,
            currency: Currency::from_letters(CURRENCY).expect("the dollar has a minor unit"),
            places,
            coupon_discount: None,
            columns: header.len(),
        })
    }

    /// The currency of all amounts.
    #[must_use]
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// Replays `replay` beside the receipts: what tells which coupons were used.
    ///
    /// # Errors
    /// When `transactions.csv` does not tell coupon discounts.
    pub fn watcher(&mut self, header: &StringRecord, replay: Replay) -> anyhow::Result<Watcher> {
        let place = column(header, COUPON_DISCOUNT).with_context(|| format!("in {TRANSACTIONS}"))?;
        self.coupon_discount = Some(place);
        Ok(Watcher {
            places: self.places,
            coupon_discount: place,
            exponent: self.currency.exponent(),
            replay,
        })
    }

    fn field<'a>(&self, record: Fields<'a>, which: usize) -> Result<&'a str, String> {
        match record.get(self.places[which]).map(str::trim) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(format!("{} is empty", COLUMNS[which])),
        }
    }

    /// What a row says of its purchase, as text: household, store and time.
    fn of_purchase<'a>(&self, record: Fields<'a>) -> [Option<&'a str>; 3] {
        [0, 1, 6].map(|which: usize| record.get(self.places[which]))
    }

    fn head(&self, record: Fields<'_>) -> Result<Head, String> {
        let household = self.field(record, 0)?;
        let store = self.field(record, 1)?;
        Ok(Head {
            register: self.register.clone().unwrap_or_else(|| format!("store-{store}")),
            currency: self.currency,
            kind: None,
            tender: TENDER_NOT_RECORDED.to_owned(),
            member: Some(household.to_owned()),
            cashier: None,
        })
    }

    fn when(&self, record: Fields<'_>) -> Result<When, String> {
        let time = self.field(record, 6)?;
        let when = time.parse().map_err(|_| {
            format!("transaction_timestamp: {time:?} is not a time such as 2017-01-01 11:53:26")
        })?;
        Ok(When::Local(when))
    }

    fn product(&self, id: &str) -> String {
        let known = id.parse().ok().and_then(|id: u32| self.products.name(id));
        known.map_or_else(|| format!("product {id}"), str::to_owned)
    }
}

/// The place of a column.
///
/// # Errors
/// Names it and what there is.
pub fn column(header: &StringRecord, name: &str) -> anyhow::Result<usize> {
    let found = header.iter().position(|column| column == name);
    found.with_context(|| {
        let there: Vec<&str> = header.iter().collect();
        format!(
            "there is no column {name:?}; the columns are {}",
            there.join(", ")
        )
    })
}

/// What a receipt calls each product: its type and package size, or the next
/// wider term that is known.
///
/// Every line of every receipt looks here, anywhere: each name is kept once, all
/// of them in one text, so that the whole of it stays near the processor.
#[derive(Default)]
struct Products {
    names: String,
    /// Where the name of each product begins and ends.
    places: HashMap<u32, (u32, u32)>,
}

impl Products {
    fn name(&self, id: u32) -> Option<&str> {
        let (start, end) = *self.places.get(&id)?;
        self.names.get(start as usize..end as usize)
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let mut reader = csv::Reader::from_path(path).with_context(|| format!("cannot read {shown}"))?;
        let header = reader
            .headers()
            .with_context(|| format!("cannot read {shown}"))?
            .clone();
        let at = |name| column(&header, name).with_context(|| format!("in {PRODUCTS}"));
        let (id, size) = (at("product_id")?, at("package_size")?);
        let terms = [at("product_type")?, at("product_category")?, at("department")?];
        let (mut products, mut known) = (Self::default(), HashMap::new());
        let (mut record, mut name) = (StringRecord::new(), String::new());
        while reader
            .read_record(&mut record)
            .with_context(|| format!("cannot read {shown}"))?
        {
            let field = |place: usize| record.get(place).map(str::trim).filter(|text| !text.is_empty());
            let term = terms.iter().find_map(|place| field(*place));
            let (Some(Ok(id)), Some(term)) = (field(id).map(str::parse), term) else {
                continue;
            };
            name.clear();
            name.push_str(term);
            if let Some(size) = field(size) {
                name.push_str(", ");
                name.push_str(size);
            }
            if products.places.len() >= limits::IMPORT_PRODUCTS_MAX {
                anyhow::bail!("{shown} holds more than {} products", limits::IMPORT_PRODUCTS_MAX);
            }
            let place = match known.get(&name) {
                Some(place) => *place,
                None => {
                    let start = u32::try_from(products.names.len());
                    products.names.push_str(&description(&name).0);
                    let end = u32::try_from(products.names.len());
                    let place = start.and_then(|start| Ok((start, end?)));
                    let place = place.with_context(|| format!("the names in {shown} take more than 4 GB"))?;
                    known.insert(name.clone(), place);
                    place
                }
            };
            products.places.insert(id, place);
        }
        Ok(products)
    }
}

/// Looks at the rows of purchases for what was bought where coupons were used.
pub struct Watcher {
    places: [usize; COLUMNS.len()],
    coupon_discount: usize,
    exponent: u32,
    replay: Replay,
}

impl Watch for Watcher {
    fn see(&mut self, record: Fields<'_>) -> Vec<Use> {
        let field = |place: usize| record.get(place).unwrap_or_default().trim();
        let [household, store, _, _, _, total, time] = self.places;
        let exponent = self.exponent;
        // A row that says neither is reported where its receipt is made.
        let minor = |place: usize| {
            number::money(field(place), exponent, false).map_or(0, |money| money.amount.minor_units())
        };
        self.replay.see(field(household), field(store), field(time), || {
            (minor(total), minor(self.coupon_discount))
        })
    }

    fn end(&mut self) -> Vec<Use> {
        self.replay.settle_before(None)
    }
}

impl Layout for CompleteJourney {
    fn rules(&self) -> &Rules {
        &self.rules
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn encoding(&self) -> Encoding {
        Encoding::Utf8
    }

    fn key(&self, record: Fields<'_>) -> Result<Vec<String>, String> {
        Ok(vec![self.field(record, 2)?.to_owned()])
    }

    fn continues(&self, record: Fields<'_>, key: &[String]) -> bool {
        self.field(record, 2).is_ok_and(|basket| *key == [basket])
    }

    fn row(&self, record: Fields<'_>, before: Option<Before<'_>>) -> Result<Row, String> {
        let product = self.field(record, 3)?;
        let quantity = number::decimal(self.field(record, 4)?, limits::QUANTITY_PLACES_MAX, false)
            .map_err(|error| format!("quantity: {error}"))?;
        let exponent = self.currency.exponent();
        let total = number::money(self.field(record, 5)?, exponent, false)
            .map_err(|error| format!("sales_value: {error}"))?;
        if let Some(discount) = self.coupon_discount.and_then(|place| record.get(place)) {
            number::money(discount, exponent, false)
                .map_err(|error| format!("{COUPON_DISCOUNT}: {error}"))?;
        }
        let (head, when) = match before {
            Some((text, row)) if self.of_purchase(record) == self.of_purchase(text) => {
                (Arc::clone(&row.head), row.when)
            }
            _ => (Arc::new(self.head(record)?), self.when(record)?),
        };
        Ok(Row {
            head,
            when,
            line: Line {
                description: self.product(product),
                quantity,
                unit: None,
                unit_price: number::unit_price(total.amount, quantity, exponent),
                total: total.amount,
                tax_rate: None,
            },
            rounded: !total.fits,
            cut: false,
        })
    }
}
