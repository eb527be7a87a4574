//! Tables in a page of Markdown, each behind a comment that names it.

/// The page with these tables in the places of the old ones. A table ends at the first line that is not of one.
pub fn with_tables(page: &str, tables: &[(&str, String)]) -> String {
    let mut text = String::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        text.push_str(line);
        text.push('\n');
        let table = tables
            .iter()
            .find(|(name, _)| line == format!("<!-- simulated: {name} -->"));
        if let Some((_, table)) = table {
            while lines
                .next_if(|line| line.is_empty() || line.starts_with('|'))
                .is_some()
            {}
            text.push('\n');
            text.push_str(table);
            if lines.peek().is_some() {
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::with_tables;

    #[test]
    fn a_table_takes_the_place_of_the_old_one_and_no_more() {
        let tables = [("one", "| b |\n".to_owned())];
        let page = |table: &str| format!("A.\n\n<!-- simulated: one -->\n\n{table}\nB.\n| c |\n");
        assert_eq!(
            with_tables(&page("| a |\n| a |\n"), &tables),
            page("| b |\n")
        );
        assert_eq!(with_tables(&page("| b |\n"), &tables), page("| b |\n"));
        assert_eq!(
            with_tables("<!-- simulated: two -->\n", &tables),
            "<!-- simulated: two -->\n"
        );
    }
}
