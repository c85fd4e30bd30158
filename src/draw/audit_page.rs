//! The page of an audit: how forecasts did, over all sets, and set by set.
//!
//! Refuses to word anything: what it says stands in the view.

use std::fmt::{self, Write as _};

use crate::draw::Figure;
use crate::draw::page::{escape, figure_section, foot, head, summary, table};
use crate::report::audit::AuditView;

pub(crate) fn html(view: &AuditView, figures: &[Figure]) -> String {
    let mut page = String::new();
    write_page(&mut page, view, figures).expect("a string takes every write");
    page
}

fn write_page(page: &mut String, view: &AuditView, figures: &[Figure]) -> fmt::Result {
    head(page, &view.title)?;
    writeln!(
        page,
        "<body>\n<header>\n<p class=\"kicker\">Audit of forecasts</p>\n<h1>{}</h1>\n<p class=\"question\">{}</p>",
        escape(&view.title),
        escape(&view.question)
    )?;
    summary(page, &view.summary)?;
    page.push_str(
        "<nav><a href=\"#sets\">Sets</a><a href=\"#figures\">Figures</a><a href=\"#cuts\">Cuts</a></nav>\n</header>\n\
         <main>\n<h2 id=\"sets\">Sets</h2>\n",
    );
    table(page, &view.sets, "stack")?;
    for note in &view.notes {
        writeln!(page, "<p>{}</p>", escape(note))?;
    }
    page.push_str("<h2 id=\"figures\">Figures</h2>\n");
    for figure in &view.figures {
        if let Some(drawn) = figures.iter().find(|drawn| drawn.name == figure.name) {
            figure_section(page, figure, drawn)?;
        }
    }
    if figures.is_empty() {
        page.push_str("<p>No forecast was made, so there is nothing to draw.</p>\n");
    }
    page.push_str("<h2 id=\"cuts\">Cuts</h2>\n");
    table(page, &view.cuts, "stack")?;
    foot(page)
}
