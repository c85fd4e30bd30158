//! The one HTML page: words and tables around the figures, with its style, its type and its script inside.
//!
//! Everything from outside is escaped on its way in. Refuses to fetch anything and to decide what is shown.

use std::fmt::{self, Write};

use crate::draw::Figure;
use crate::draw::palette::{Role, style_sheet};
use crate::draw::typeface::{REGULAR, SEMIBOLD};
use crate::report::ReportView;
use crate::report::law_view::LawView;
use crate::report::recipe_view::RecipeView;
use crate::report::view::{Content, FigureView, Table};

/// More trials without a number than this are folded away.
const LEFT_OUT_OPEN_MAX: usize = 30;

/// More than this are not listed at all.
const LEFT_OUT_LISTED_MAX: usize = 500;

/// The dark screen's words and grounds, beside those of `page.css`.
const DARK: &str = "--ground:#15181d;--text:#e6e9ed;--muted:#9ea7b2;--line:#2f353d;--soft:#1d2127;\
    --accent:#6cb2f5;--good:#45c48b;--bad:#f0795f;--warn:#e0a93b";

/// The page of a view with its drawn figures.
pub(crate) fn html(view: &ReportView, figures: &[Figure]) -> String {
    let mut page = String::new();
    write_page(&mut page, view, figures).expect("a string takes every write");
    page
}

/// Text as HTML and XML text or attribute.
pub(crate) fn escape(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut escaped, letter| {
            match letter {
                '&' => escaped.push_str("&amp;"),
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                '"' => escaped.push_str("&quot;"),
                '\'' => escaped.push_str("&#39;"),
                // XML has no way to say other control characters.
                '\n' | '\t' => escaped.push(letter),
                control if control.is_control() => escaped.push('\u{fffd}'),
                plain => escaped.push(plain),
            }
            escaped
        })
}

fn write_page(page: &mut String, view: &ReportView, figures: &[Figure]) -> fmt::Result {
    head(page, &view.sweep)?;
    header(page, view)?;
    page.push_str("<main>\n");
    if let Some(story) = &view.story {
        page.push_str("<h2 id=\"story\">Story</h2>\n");
        table(page, story, "stack")?;
    }
    if !view.is_law_alone {
        recipe(page, view.recipe.as_ref())?;
    }
    laws(page, &view.laws)?;
    figure_sections(page, view, figures)?;
    if !view.checklist.is_empty() {
        page.push_str("<h2 id=\"checklist\">Before believing the law</h2>\n");
        facts(page, &view.checklist)?;
    }
    if !view.is_law_alone {
        trials(page, view)?;
    }
    left_out(page, view)?;
    provenance(page, view)?;
    foot(page)
}

/// The end of a page, with its script.
pub(super) fn foot(page: &mut String) -> fmt::Result {
    write!(
        page,
        "</main>\n<script>\n{}</script>\n</body>\n</html>\n",
        include_str!("page.js")
    )
}

/// The beginning of a page, with its type and style.
pub(super) fn head(page: &mut String, title: &str) -> fmt::Result {
    writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n<style>",
        escape(title)
    )?;
    for (bytes, weight) in [(REGULAR, 400), (SEMIBOLD, 600)] {
        writeln!(
            page,
            "@font-face{{font-family:Inter;font-weight:{weight};src:url(data:font/ttf;base64,{})}}",
            base64(bytes)
        )?;
    }
    writeln!(page, "{}\n</style>\n</head>", style())
}

/// The page's style sheet, light and dark.
pub(crate) fn style() -> String {
    let (light, dark) = (style_sheet(Role::light), style_sheet(Role::dark));
    // Paper is always light.
    format!(
        "{}{light}\n@media screen and (prefers-color-scheme:dark){{:root{{{DARK}}}{dark}}}\n\
         @media print{{:root{{color-scheme:light}}}}",
        include_str!("page.css")
    )
}

fn header(page: &mut String, view: &ReportView) -> fmt::Result {
    writeln!(
        page,
        "<body>\n<header>\n<p class=\"kicker\">Scaling study</p>\n<h1>{}</h1>",
        escape(&view.sweep)
    )?;
    if let Some(question) = &view.question {
        writeln!(page, "<p class=\"question\">{}</p>", escape(question))?;
    }
    for notice in &view.notices {
        writeln!(page, "<p class=\"notice\">{}</p>", escape(notice))?;
    }
    summary(page, &view.summary)?;
    let sections = [
        ("story", "Story", view.story.is_some()),
        ("recipe", "Recipe", !view.is_law_alone),
        ("laws", "Laws", true),
        ("figures", "Figures", true),
        ("checklist", "Before believing", !view.checklist.is_empty()),
        ("trials", "Trials", !view.is_law_alone),
        ("left-out", "Left out", true),
        ("provenance", "Provenance", true),
    ];
    page.push_str("<nav>");
    for (anchor, name, _) in sections.iter().filter(|(_, _, is_there)| *is_there) {
        write!(page, "<a href=\"#{anchor}\">{name}</a>")?;
    }
    page.push_str("</nav>\n</header>\n");
    Ok(())
}

/// What is in a page in numbers: a name, a value.
pub(super) fn summary(page: &mut String, summary: &[(String, String)]) -> fmt::Result {
    if summary.is_empty() {
        return Ok(());
    }
    page.push_str("<dl class=\"summary\">\n");
    for (name, value) in summary {
        let (name, value) = (escape(name), escape(value));
        writeln!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>")?;
    }
    page.push_str("</dl>\n");
    Ok(())
}

fn recipe(page: &mut String, recipe: Option<&RecipeView>) -> fmt::Result {
    let Some(recipe) = recipe else {
        page.push_str("<h2 id=\"recipe\">Recipe</h2>\n<p>No recipe has been drawn up from this study.</p>\n");
        return Ok(());
    };
    writeln!(
        page,
        "<h2 id=\"recipe\">{} {}</h2>",
        escape(&recipe.title),
        badge(&recipe.verdict)
    )?;
    table(page, &recipe.items, "stack")?;
    for note in &recipe.notes {
        writeln!(page, "<p>{}</p>", prose(note))?;
    }
    if !recipe.imported.rows.is_empty() {
        table(page, &recipe.imported, "stack")?;
    }
    if !recipe.alternatives.rows.is_empty() {
        table(page, &recipe.alternatives, "stack")?;
    }
    if !recipe.gates.is_empty() {
        page.push_str("<h3>What was checked</h3>\n<ul class=\"list\">\n");
        for gate in &recipe.gates {
            let class = if gate.passed { "pass" } else { "fail" };
            let name = escape(&gate.name.replace('_', " "));
            write!(page, "<li class=\"{class}\"><b>{name}</b>: {}", prose(&gate.why))?;
            if let Some(next) = &gate.next {
                write!(page, "<br>Run next: <code>{}</code>", escape(next))?;
            }
            page.push_str("</li>\n");
        }
        page.push_str("</ul>\n");
    }
    warnings(page, &recipe.warnings)
}

/// `verified` and its like as a badge; an unknown word gets no colour of its own.
fn badge(word: &str) -> String {
    let class = match word {
        "verified" | "partly" | "unverified" | "refused" => word,
        _ => "muted",
    };
    format!("<span class=\"badge {class}\">{}</span>", escape(word))
}

fn warnings(page: &mut String, warnings: &[String]) -> fmt::Result {
    if warnings.is_empty() {
        return Ok(());
    }
    page.push_str("<ul class=\"list\">\n");
    for warning in warnings {
        writeln!(page, "<li class=\"warn\">{}</li>", escape(warning))?;
    }
    page.push_str("</ul>\n");
    Ok(())
}

fn laws(page: &mut String, laws: &[LawView]) -> fmt::Result {
    page.push_str("<h2 id=\"laws\">Laws</h2>\n");
    if laws.is_empty() {
        page.push_str("<p>No law has been fitted to this study.</p>\n");
    }
    for law in laws {
        let mark = if law.refused.is_some() {
            badge("refused")
        } else {
            String::new()
        };
        writeln!(page, "<h3>{} {mark}</h3>", escape(&law.law))?;
        if !law.formula.is_empty() {
            write!(page, "<p>{}", escape(&law.formula))?;
            if let Some(fit) = &law.fit {
                write!(page, " <span class=\"muted\">fit {}</span>", escape(fit))?;
            }
            page.push_str("</p>\n");
        }
        if let Some(why) = &law.refused {
            writeln!(page, "<p>{}</p>", escape(why))?;
        }
        if !law.constants.rows.is_empty() {
            table(page, &law.constants, "")?;
        }
        facts(page, &law.facts)?;
        warnings(page, &law.warnings)?;
    }
    Ok(())
}

fn figure_sections(page: &mut String, view: &ReportView, figures: &[Figure]) -> fmt::Result {
    page.push_str("<h2 id=\"figures\">Figures</h2>\n");
    let mut missing = Vec::new();
    for figure in &view.figures {
        let drawn = figures.iter().find(|drawn| drawn.name == figure.name);
        match (&figure.content, drawn) {
            (Content::Panels(_), Some(drawn)) => figure_section(page, figure, drawn)?,
            (Content::Panels(_), None) => missing.push((figure.title.clone(), "It was not drawn.".to_owned())),
            (Content::Missing(why), _) => missing.push((figure.title.clone(), why.clone())),
        }
    }
    if !missing.is_empty() {
        page.push_str("<h3>What this study cannot show</h3>\n");
        facts(page, &missing)?;
    }
    if view.points_total == 0 {
        return Ok(());
    }
    writeln!(
        page,
        "<h3>How curves are thinned</h3>\n<p>{}</p>",
        escape(&view.thinning)
    )?;
    writeln!(
        page,
        "<p>{} of {} recorded points are drawn.</p>",
        view.points_shown, view.points_total
    )
}

pub(super) fn figure_section(page: &mut String, figure: &FigureView, drawn: &Figure) -> fmt::Result {
    let (name, title) = (escape(figure.name), escape(&figure.title));
    writeln!(page, "<figure id=\"{name}\">\n<h3>{title}</h3>")?;
    page.push_str(&drawn.wide);
    page.push_str(&drawn.narrow);
    write!(page, "<figcaption>{}", escape(&figure.caption))?;
    if let Some(omitted) = figure.omitted_sentence() {
        write!(page, " <b>{}</b>", escape(&omitted))?;
    }
    page.push_str("</figcaption>\n</figure>\n");
    Ok(())
}

fn facts(page: &mut String, facts: &[(String, String)]) -> fmt::Result {
    if facts.is_empty() {
        return Ok(());
    }
    page.push_str("<dl class=\"facts\">\n");
    for (name, value) in facts {
        writeln!(page, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value))?;
    }
    page.push_str("</dl>\n");
    Ok(())
}

pub(super) fn table(page: &mut String, table: &Table, class: &str) -> fmt::Result {
    let is_stack = class == "stack";
    write!(page, "<div class=\"scroll\"><table class=\"{class}\">\n<thead><tr>")?;
    for column in &table.columns {
        let class = if column.numeric { " class=\"n\"" } else { "" };
        write!(page, "<th{class}>{}</th>", escape(column.title))?;
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        page.push_str("<tr>");
        for (cell, column) in row.iter().zip(&table.columns) {
            let class = if column.numeric { " class=\"n\"" } else { "" };
            write!(page, "<td{class}")?;
            if let Some(sort) = &cell.sort {
                write!(page, " data-s=\"{}\"", escape(sort))?;
            }
            // On a narrow screen the rows of such a table stand below each other, each value after its name.
            if is_stack {
                write!(page, " data-l=\"{}\"", escape(column.title))?;
            }
            write!(page, ">{}</td>", escape(&cell.text))?;
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
    Ok(())
}

fn trials(page: &mut String, view: &ReportView) -> fmt::Result {
    page.push_str("<h2 id=\"trials\">Trials</h2>\n");
    if view.trials.rows.is_empty() {
        page.push_str("<p>None.</p>\n");
        return Ok(());
    }
    table(page, &view.trials, "wide-table sortable")?;
    if view.trials_unlisted > 0 {
        writeln!(
            page,
            "<p class=\"muted\">{} more trials are not listed here; <code>sandbox export</code> writes them all.</p>",
            view.trials_unlisted
        )?;
    }
    Ok(())
}

fn left_out(page: &mut String, view: &ReportView) -> fmt::Result {
    page.push_str("<h2 id=\"left-out\">Left out, and why</h2>\n");
    let count = view.left_out.len();
    if count == 0 {
        page.push_str(
            "<p>Every trial has a final loss; what a law rests on and leaves out stands beside its constants.</p>\n",
        );
        return Ok(());
    }
    let open = if count <= LEFT_OUT_OPEN_MAX { " open" } else { "" };
    let noun = if count == 1 { "trial has" } else { "trials have" };
    let what = if view.is_law_alone {
        format!("{count} of the runs did not enter the law.")
    } else {
        format!("{count} {noun} no final loss: none of them is a number in any figure or law.")
    };
    writeln!(page, "<details{open}><summary>{what}</summary>\n<ul class=\"list\">")?;
    for trial in view.left_out.iter().take(LEFT_OUT_LISTED_MAX) {
        writeln!(
            page,
            "<li>{}: {} <span class=\"muted\">{}</span></li>",
            escape(&trial.slug),
            escape(&trial.reason),
            escape(&trial.trial)
        )?;
    }
    page.push_str("</ul>\n");
    if count > LEFT_OUT_LISTED_MAX {
        let more = count - LEFT_OUT_LISTED_MAX;
        writeln!(
            page,
            "<p class=\"muted\">{more} more are not listed here; <code>sandbox report --json</code> names them all.</p>"
        )?;
    }
    page.push_str("</details>\n");
    Ok(())
}

fn provenance(page: &mut String, view: &ReportView) -> fmt::Result {
    page.push_str("<h2 id=\"provenance\">Provenance</h2>\n");
    if view.provenance.is_empty() {
        page.push_str("<p>Nothing has been recorded yet.</p>\n");
    }
    facts(page, &view.provenance)
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            if at <= chunk.len() {
                let index = bits >> (18 - 6 * at) & 63;
                text.push(char::from(LETTERS[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// Escaped text, in which what stands between back-ticks is code.
fn prose(text: &str) -> String {
    let parts: Vec<String> = text.split('`').map(escape).collect();
    if parts.len().is_multiple_of(2) {
        return escape(text);
    }
    let code = |(at, part): (usize, &String)| match at % 2 {
        1 => format!("<code>{part}</code>"),
        _ => part.clone(),
    };
    parts.iter().enumerate().map(code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn what_stands_between_back_ticks_is_code() {
        assert_eq!(prose("run `a<b` now"), "run <code>a&lt;b</code> now");
        assert_eq!(prose("a ` b"), "a ` b");
    }

    #[test]
    fn escaped_text_is_neither_markup_nor_control() {
        assert_eq!(escape("<script>'\"&\u{1b}"), "&lt;script&gt;&#39;&quot;&amp;\u{fffd}");
    }
}
