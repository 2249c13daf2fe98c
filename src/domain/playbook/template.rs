//! Checks a lookup's templates when the playbook is read. Rendering, with escaping for each place, is the adapter's.

use std::collections::BTreeSet;

use minijinja::Environment;

/// The variables that a template speaks of.
///
/// # Errors
/// The reason in words, when it is not a template.
pub(crate) fn variables(text: &str) -> Result<BTreeSet<String>, String> {
    let environment = Environment::new();
    let template = environment.template_from_str(text).map_err(|error| {
        format!(
            "not a template: {}",
            error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
        )
    })?;
    Ok(template.undeclared_variables(false).into_iter().collect())
}
