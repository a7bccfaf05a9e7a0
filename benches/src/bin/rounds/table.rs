//! The rows as a table for people.

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_HORIZONTAL_ONLY};
use comfy_table::{Cell, CellAlignment, Table};

use crate::summary::{Row, Spread};

/// A table, in Markdown if asked for.
pub(crate) fn render(rows: &[Row], markdown: bool) -> String {
    let mut table = Table::new();
    table.load_preset(if markdown { ASCII_MARKDOWN } else { UTF8_HORIZONTAL_ONLY });
    table.set_header([
        "case",
        "server",
        "req/s",
        "ratio",
        "CPU us/req (user + system)",
        "CPU ratio",
        "p99 us",
        "notes",
    ]);
    for row in rows {
        table.add_row([
            Cell::new(&row.case),
            Cell::new(&row.server),
            right(format!("{:.0}", row.per_second)),
            right(spread(row.ratio)),
            right(format!("{:.3} ({:.3} + {:.3})", row.cpu_us, row.user_us, row.system_us)),
            right(spread(row.cpu_ratio)),
            right(format!("{:.0}", row.p99_us)),
            Cell::new(row.notes.join(", ")),
        ]);
    }
    table.to_string()
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn spread(spread: Spread) -> String {
    format!("{:.2} ({:.2}..{:.2})", spread.median, spread.min, spread.max)
}
