//! The report as one HTML page: no request to anywhere, light and dark, phone to desktop.
//!
//! It is a function of the report alone, so `report.json` holds every figure of the page.

mod view;
mod chart;

use askama::Template;

use crate::compare::report::Report;

/// The page.
///
/// # Errors
/// A chart or the template cannot be written.
pub(crate) fn render(report: &Report) -> anyhow::Result<String> {
    Ok(view::Page::of(report)?.render()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::sample_report;

    /// The page is made from the report, so if a report that went through JSON gives the same page, then
    /// the JSON holds everything that the page shows.
    #[test]
    fn report_json_holds_every_figure_of_the_page() {
        let report = sample_report::report();
        let text = serde_json::to_string(&report).unwrap();
        let back: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(render(&back).unwrap(), render(&report).unwrap());
    }

    #[test]
    fn the_page_asks_nobody_for_anything() {
        let page = render(&sample_report::report()).unwrap();
        for reach in ["src=", "<link", "@import", "url(", "<script", "href=\"http"] {
            assert!(!page.contains(reach), "{reach}");
        }
        // The name of the SVG namespace is no address to fetch.
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("http"), "an address");
    }

    #[test]
    fn losses_come_before_wins_and_before_the_cells() {
        let page = render(&sample_report::report()).unwrap();
        let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}"));
        assert!(place("id=\"losses\"") < place("id=\"wins\""));
        assert!(place("id=\"losses\"") < place("id=\"echo-64x50x1\""));
    }

    #[test]
    fn what_a_machine_calls_itself_is_escaped() {
        let page = render(&sample_report::report()).unwrap();
        assert!(page.contains("A &#60;CPU&#62; &#38; more") && !page.contains("<CPU>"));
    }

    #[test]
    fn charts_take_their_colours_from_the_page_so_that_both_schemes_work() {
        let page = render(&sample_report::report()).unwrap();
        let charts = page.split("<svg").skip(1).map(|rest| rest.split("</svg>").next().unwrap_or(""));
        for chart in charts {
            assert!(!chart.contains("=\"#"), "a fixed colour: {chart}");
            assert!(chart.contains("var(--"), "no colour of the page: {chart}");
        }
    }

    #[test]
    fn a_report_without_cells_is_a_page_too() {
        let mut report = sample_report::report();
        report.cells.clear();
        report.losses.clear();
        report.partial = true;
        assert!(render(&report).unwrap().contains("interrupted"));
    }
}
