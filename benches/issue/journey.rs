//! Baskets made up in the layout of The Complete Journey, whose data may not be
//! handed on.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

const PRODUCTS: u64 = 20_000;
const STORES: u64 = 457;
const HOUSEHOLDS: u64 = 2_469;

/// Writes `transactions.csv` and `products.csv` for that many baskets into a
/// new directory; gives the number of rows.
pub fn write(directory: &Path, baskets: u64) -> u64 {
    std::fs::create_dir(directory).expect("a new directory");
    let create = |name| BufWriter::new(File::create(directory.join(name)).expect("a new file"));
    let mut products = create("products.csv");
    let header = "product_id,manufacturer_id,department,brand,product_category,product_type,package_size";
    writeln!(products, "{header}").expect("the disk has room");
    for id in 0..PRODUCTS {
        let size = id % 40 + 1;
        writeln!(
            products,
            "{id},{},GROCERY,National,FROZEN PIZZA,PRODUCT TYPE NUMBER {id},{size} OZ",
            id % 97
        )
        .expect("the disk has room");
    }
    products.flush().expect("the disk has room");
    let mut rows = 0;
    let mut transactions = create("transactions.csv");
    let header = "household_id,store_id,basket_id,product_id,quantity,sales_value,retail_disc,coupon_disc,\
                  coupon_match_disc,week,transaction_timestamp";
    writeln!(transactions, "{header}").expect("the disk has room");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for basket in 0..baskets {
        let (month, day) = (basket * 12 / baskets + 1, random.below(28) + 1);
        let (hour, minute, second) = (random.below(13) + 8, random.below(60), random.below(60));
        let lines = basket_size(&mut random);
        for _ in 0..lines {
            let (product, quantity) = (random.below(PRODUCTS), random.below(3) + 1);
            let cents = random.below(850) + 50;
            writeln!(
                transactions,
                "{},{},{},{product},{quantity},{}.{:02},0,0,0,{},2017-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}",
                basket % HOUSEHOLDS + 1,
                basket % STORES + 1,
                31_198_000_000 + basket,
                cents / 100,
                cents % 100,
                basket * 52 / baskets + 1,
            )
            .expect("the disk has room");
        }
        rows += lines;
    }
    transactions.flush().expect("the disk has room");
    rows
}

/// Many small baskets and a few large ones: 1 line and, 17 times out of 19, one
/// more, again and again. That is 9.5 on average; 60 is the most.
fn basket_size(random: &mut Random) -> u64 {
    let mut lines = 1;
    while lines < 60 && random.below(19) < 17 {
        lines += 1;
    }
    lines
}

/// xorshift64: the same rows in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
