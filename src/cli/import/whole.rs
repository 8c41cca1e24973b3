//! Whole exports, read at once and without a node, for fuzzing: by the code that
//! the commands run.

use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::Common;
use super::core_pos::{self, Summary};
use super::mapping::Mapping;
use super::replay::Use;
use super::rows::{self, Found, Layout, Reject, RowCounts};
use super::sale::Sale;

/// An export, understood.
#[derive(Default)]
pub struct Whole {
    /// What becomes a receipt.
    pub sales: Vec<Sale>,
    /// What does not.
    pub rejects: Vec<Reject>,
    /// What is no sale by the export's own rules.
    pub set_aside: Vec<Reject>,
    /// Coupons that were used.
    pub uses: Vec<Use>,
    /// The rows.
    pub counts: RowCounts,
}

impl Whole {
    fn take(&mut self, found: Found) {
        match found {
            Found::Purchase(purchase) => {
                let understood = purchase.understand();
                self.sales.extend(understood.sale.map(|sale| *sale));
                self.rejects.extend(understood.rejects);
                self.counts.add(&understood.counts);
            }
            Found::Sale(sale) => self.sales.push(*sale),
            Found::Rejected(reject) => self.rejects.push(reject),
            Found::SetAside(reject) => self.set_aside.push(reject),
            Found::Used(used) => self.uses.push(*used),
        }
    }
}

/// An export by the text of a mapping, as `import csv` reads it.
pub fn csv(mapping: &str, export: &[u8]) -> anyhow::Result<Whole> {
    let mapping: Mapping = toml::from_str(mapping)?;
    let mut reader = super::csv_reader(Box::new(Cursor::new(export.to_vec())), &mapping.file)?;
    let names = (Path::new("export"), Path::new("map"));
    let layout = super::layout_of(&mapping, &mut reader, &Common::default(), names)?;
    let layout: Arc<dyn Layout> = Arc::new(layout);
    let mut whole = Whole::default();
    let read = rows::read(&mut reader, &layout, None, &mut |found| {
        whole.take(found);
        ControlFlow::Continue(())
    })?;
    whole.counts.add(&read);
    Ok(whole)
}

/// The Complete Journey in a directory, with how many rows its redemptions have
/// and which of them are left out.
pub fn journey(directory: &Path) -> anyhow::Result<(Whole, u64, Vec<Reject>)> {
    let mut export = super::journey(directory, &Common::default())?;
    let (rows, bad) = export
        .coupons
        .map_or_else(Default::default, |(loaded, _)| (loaded.rows, loaded.rejects));
    let mut whole = Whole::default();
    let watch = export.watch.as_mut().map(|watch| &mut **watch as _);
    let read = rows::read(&mut export.reader, &export.layout, watch, &mut |found| {
        whole.take(found);
        ControlFlow::Continue(())
    })?;
    whole.counts.add(&read);
    Ok((whole, rows, bad))
}

/// An export of CORE-POS with what `import core-pos` sums up of it, in a zone
/// and with a year for times whose years were replaced.
pub fn core_pos(export: &[u8], zone: TimeZone, year: Option<i16>) -> anyhow::Result<(Whole, Summary)> {
    let common = Common {
        time_zone: Some(zone),
        ..Common::default()
    };
    let mut whole = Whole::default();
    let (counts, summary) = core_pos::read_whole(export, year, &common, &mut |found| {
        whole.take(found);
        ControlFlow::Continue(())
    })?;
    whole.counts.add(&counts);
    Ok((whole, summary))
}
