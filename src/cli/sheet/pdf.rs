//! A PDF file (ISO 32000-1) of pages that are written one after the other: of a
//! page nothing is kept but where it begins.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::ZlibEncoder;

/// Pages under one node of the page tree.
const PAGES_PER_NODE: usize = 256;

/// An object's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(usize);

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} 0 R", self.0)
    }
}

/// A document that is being written.
pub struct Pdf<W> {
    out: W,
    written: u64,
    /// Where each object begins, by number; 0 for what is not written yet.
    offsets: Vec<u64>,
    root: Id,
    /// The nodes of the page tree, with how many pages each has.
    nodes: Vec<(Id, usize)>,
    /// The pages of the last node.
    open: Vec<Id>,
}

impl<W: Write> Pdf<W> {
    /// Begins a document.
    ///
    /// # Errors
    /// What writing gives.
    pub fn begin(out: W) -> io::Result<Self> {
        let mut pdf = Self {
            out,
            written: 0,
            offsets: vec![0],
            root: Id(0),
            nodes: Vec::new(),
            open: Vec::new(),
        };
        // The second line tells transports that this is no text.
        pdf.write(b"%PDF-1.7\n%\xc3\xa4\xc3\xb6\n")?;
        pdf.root = pdf.reserve();
        Ok(pdf)
    }

    /// A number for an object that is written later.
    pub fn reserve(&mut self) -> Id {
        self.offsets.push(0);
        Id(self.offsets.len() - 1)
    }

    /// Writes the object `id`.
    ///
    /// # Errors
    /// What writing gives.
    pub fn object(&mut self, id: Id, body: &str) -> io::Result<()> {
        self.offsets[id.0] = self.written;
        self.write(format!("{} 0 obj\n{body}\nendobj\n", id.0).as_bytes())
    }

    /// Writes the object `id` as a compressed stream, with `members` more in its
    /// dictionary.
    ///
    /// # Errors
    /// What writing gives.
    pub fn stream(&mut self, id: Id, members: &str, bytes: &[u8]) -> io::Result<()> {
        let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
        packer.write_all(bytes)?;
        let packed = packer.finish()?;
        self.offsets[id.0] = self.written;
        let head = format!(
            "{} 0 obj\n<< /Length {} /Filter /FlateDecode {members} >>\nstream\n",
            id.0,
            packed.len()
        );
        self.write(head.as_bytes())?;
        self.write(&packed)?;
        self.write(b"\nendstream\nendobj\n")
    }

    /// Adds a page of `size` (width and height in points) that shows `content`.
    ///
    /// # Errors
    /// What writing gives.
    pub fn page(&mut self, size: (f32, f32), resources: &str, content: &[u8]) -> io::Result<()> {
        if self.open.is_empty() {
            let node = self.reserve();
            self.nodes.push((node, 0));
        }
        let (node, count) = self.nodes.last_mut().expect("a node was opened");
        *count += 1;
        let node = *node;
        let (stream, page) = (self.reserve(), self.reserve());
        self.stream(stream, "", content)?;
        let body = format!(
            "<< /Type /Page /Parent {node} /MediaBox [0 0 {} {}] /Resources << {resources} >> /Contents {stream} >>",
            size.0, size.1
        );
        self.object(page, &body)?;
        self.open.push(page);
        if self.open.len() == PAGES_PER_NODE {
            self.close_node()?;
        }
        Ok(())
    }

    fn close_node(&mut self) -> io::Result<()> {
        if let (Some((node, count)), false) = (self.nodes.last().copied(), self.open.is_empty()) {
            let kids = list(self.open.drain(..));
            let root = self.root;
            let body = format!("<< /Type /Pages /Parent {root} /Kids [{kids}] /Count {count} >>");
            self.object(node, &body)?;
        }
        Ok(())
    }

    /// Ends the document.
    ///
    /// # Errors
    /// What writing gives.
    pub fn finish(mut self) -> io::Result<()> {
        self.close_node()?;
        let count: usize = self.nodes.iter().map(|(_, count)| count).sum();
        let kids = list(self.nodes.iter().map(|(node, _)| *node));
        self.object(
            self.root,
            &format!("<< /Type /Pages /Kids [{kids}] /Count {count} >>"),
        )?;
        let catalog = self.reserve();
        let root = self.root;
        self.object(catalog, &format!("<< /Type /Catalog /Pages {root} >>"))?;
        let (start, size) = (self.written, self.offsets.len());
        self.write(format!("xref\n0 {size}\n0000000000 65535 f \n").as_bytes())?;
        for at in 1..size {
            let line = format!("{:010} 00000 n \n", self.offsets[at]);
            self.write(line.as_bytes())?;
        }
        let trailer = format!("trailer\n<< /Size {size} /Root {catalog} >>\nstartxref\n{start}\n%%EOF\n");
        self.write(trailer.as_bytes())?;
        self.out.flush()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

fn list(ids: impl Iterator<Item = Id>) -> String {
    ids.map(|id| id.to_string()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_is_where_the_table_says() {
        let mut bytes = Vec::new();
        let mut pdf = Pdf::begin(&mut bytes).unwrap();
        for n in 0..PAGES_PER_NODE + 3 {
            pdf.page((10.0, 20.5), "", format!("{n} 0 m").as_bytes()).unwrap();
        }
        pdf.finish().unwrap();
        let find = |what: &[u8], from: usize| {
            let found = bytes[from..]
                .windows(what.len())
                .position(|window| window == what);
            from + found.unwrap()
        };
        let start = find(b"startxref\n", 0) + 10;
        let text = |from: usize| String::from_utf8_lossy(&bytes[from..]).into_owned();
        let table: usize = text(start).lines().next().unwrap().parse().unwrap();
        let table = text(table);
        let mut lines = table.lines();
        assert_eq!(lines.next(), Some("xref"));
        let size: usize = lines.next().unwrap()[2..].parse().unwrap();
        // Root, two nodes, catalog, and two objects a page.
        assert_eq!(size, 1 + 4 + 2 * (PAGES_PER_NODE + 3));
        for (number, line) in lines.take(size).enumerate().skip(1) {
            assert_eq!(line.len(), 19, "each line has 20 bytes");
            let at: usize = line[..10].parse().unwrap();
            assert!(text(at).starts_with(&format!("{number} 0 obj\n")), "{number}");
        }
        assert!(text(0).contains(&format!("/Count {}", PAGES_PER_NODE + 3)));
    }
}
