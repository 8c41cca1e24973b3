//! The demo's words.

use super::super::output;

/// Tells the day on standard output.
pub struct Story {
    frauds_tried: u32,
    frauds_refused: u32,
}

impl Story {
    /// Begins with a heading.
    pub fn begin() -> Self {
        let story = Self {
            frauds_tried: 0,
            frauds_refused: 0,
        };
        story.heading("Morning");
        story
    }

    /// A new part of the day.
    pub fn heading(&self, text: &str) {
        output::data(&format!("\n== {text}"));
    }

    /// A sentence.
    pub fn say(&self, text: &str) {
        output::data(&format!("   {text}"));
    }

    /// A fraud that was tried, and what the node said; `None` when it got through.
    pub fn fraud(&mut self, what: &str, refusal: Option<&str>) {
        self.frauds_tried += 1;
        match refusal {
            Some(refusal) => {
                self.frauds_refused += 1;
                output::data(&format!("   {what}\n      refused: {refusal}"));
            }
            None => output::data(&format!(
                "   {what}\n      THE NODE ACCEPTED THIS. It should not have."
            )),
        }
    }

    /// Whether every fraud was refused.
    pub fn all_refused(&self) -> bool {
        self.frauds_tried == self.frauds_refused
    }

    /// The last line.
    pub fn end(&self) {
        output::data(&format!(
            "\n{} of {} frauds were refused. Nothing was taken on trust: every sentence above is what the node answered.",
            self.frauds_refused, self.frauds_tried
        ));
    }
}
