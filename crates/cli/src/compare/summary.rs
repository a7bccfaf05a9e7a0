//! From cells to the whole: losses first, then wins, and one sentence. Pure.

use crate::compare::format;
use crate::compare::report::{CellReport, Comparison, Kind, Outcome, Row};
use crate::compare::stats;
use crate::compare::verdict::Verdict;

/// Five percent is what readers look for.
const NOISE_TO_WARN_OF: f64 = 1.05;

/// What all cells together say.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    /// The worst first.
    pub(crate) losses: Vec<Outcome>,
    /// The best first.
    pub(crate) wins: Vec<Outcome>,
    pub(crate) within_noise: usize,
    pub(crate) withheld: usize,
    pub(crate) headline: String,
}

/// Goes through all comparisons of Coronet with loops and rivals.
pub(crate) fn summarize(rows: &[Row], cells: &[CellReport]) -> Summary {
    let compared = |name: &str| {
        let kind = rows.iter().find(|row| row.name == name).map(|row| row.kind);
        matches!(kind, Some(Kind::Reference | Kind::Rival))
    };
    let (mut losses, mut wins, mut within_noise, mut withheld) = (Vec::new(), Vec::new(), 0, 0);
    for cell in cells {
        for entry in cell.entries.iter().filter(|entry| compared(&entry.row)) {
            for comparison in &entry.ours_to_this {
                let outcome = || Outcome {
                    cell: cell.id.clone(),
                    title: cell.title.clone(),
                    against: entry.row.clone(),
                    comparison: *comparison,
                };
                match comparison.verdict {
                    Verdict::Loss => losses.push(outcome()),
                    Verdict::Win => wins.push(outcome()),
                    Verdict::WithinNoise => within_noise += 1,
                    Verdict::Withheld | Verdict::TooFew => withheld += 1,
                }
            }
        }
    }
    // Further from 1 is worse in the one list and better in the other.
    let distance = |outcome: &Outcome| outcome.comparison.ratio.ln().abs();
    for list in [&mut losses, &mut wins] {
        list.sort_by(|a, b| distance(b).total_cmp(&distance(a)));
    }
    let headline = headline(rows, cells, &losses, &wins, within_noise);
    Summary { losses, wins, within_noise, withheld, headline }
}

fn headline(
    rows: &[Row],
    cells: &[CellReport],
    losses: &[Outcome],
    wins: &[Outcome],
    within_noise: usize,
) -> String {
    let measured = |row: &&Row| {
        let mut entries = cells.iter().flat_map(|cell| &cell.entries);
        entries.any(|entry| entry.row == row.name && entry.figures.is_some())
    };
    let count = |kind: Kind| rows.iter().filter(|row| row.kind == kind).filter(measured).count();
    if count(Kind::Ours) == 0 {
        return "Coronet itself could not be measured, so there is nothing to compare.".to_owned();
    }
    let (rivals, loops) = (count(Kind::Rival), count(Kind::Reference));
    if rivals + loops == 0 {
        return "Nobody but Coronet could be measured, so there is nothing to compare with.".to_owned();
    }
    let mut against = Vec::new();
    if rivals > 0 {
        against.push(format::counted(rivals, "rival"));
    }
    if loops > 0 {
        against.push(format::counted(loops, "raw loop"));
    }
    let mut text =
        format!("Against {} in {}, Coronet ", against.join(" and "), format::counted(cells.len(), "cell"));
    text.push_str(&match (losses.len(), wins.len()) {
        (0, 0) => format!("neither loses nor wins: all {within_noise} comparisons are within noise."),
        (lost, won) => {
            let (lost, won) = (format::counted(lost, "comparison"), won.to_string());
            format!("loses {lost} and wins {won}; {within_noise} are within noise.")
        }
    });
    if let Some(worst) = losses.first() {
        text.push_str(&format!(" Its worst: {}.", told(worst)));
    }
    if let Some(best) = wins.first() {
        text.push_str(&format!(" Its best: {}.", told(best)));
    }
    text
}

/// What to say if this run could see large differences only.
pub(crate) fn noise_warning(cells: &[CellReport]) -> Option<String> {
    let floors: Vec<f64> = cells.iter().flat_map(|cell| &cell.noise).map(|noise| noise.floor).collect();
    let floor = stats::median(&floors).filter(|floor| *floor > NOISE_TO_WARN_OF)?;
    Some(format!(
        "the machine was noisy: Coronet differs from itself by {:.0} % in the median cell, and smaller differences \
         could not be seen; run it again when nothing else runs",
        (floor - 1.0) * 100.0
    ))
}

/// One outcome as a clause.
pub(crate) fn told(outcome: &Outcome) -> String {
    let factor = factor(&outcome.comparison);
    let metric = outcome.comparison.metric.words();
    format!("{factor} the {metric} of {} ({})", outcome.against, outcome.title)
}

/// `0.83x`.
pub(crate) fn factor(comparison: &Comparison) -> String {
    format!("{:.2}x", comparison.ratio)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::sample_report;

    #[test]
    fn losses_are_sorted_from_the_worst_and_the_headline_names_it() {
        let report = sample_report::report();
        let ratios: Vec<f64> = report.losses.iter().map(|loss| loss.comparison.ratio.ln().abs()).collect();
        assert!(ratios.is_sorted_by(|a, b| a >= b) && !ratios.is_empty(), "{ratios:?}");
        let worst = told(&report.losses[0]);
        assert!(report.headline.contains(&worst), "{}", report.headline);
    }

    #[test]
    fn a_noisy_run_says_that_it_could_not_see_small_differences() {
        let mut cells = sample_report::report().cells;
        assert_eq!(noise_warning(&cells), None);
        cells.iter_mut().flat_map(|cell| &mut cell.noise).for_each(|noise| noise.floor = 1.4);
        assert!(noise_warning(&cells).unwrap().contains("by 40 %"));
    }

    #[test]
    fn without_a_figure_of_ours_the_headline_claims_nothing() {
        let text = summarize(&[], &[]).headline;
        assert_eq!(text, "Coronet itself could not be measured, so there is nothing to compare.");
    }
}
