//! The helper `{{lines LIST PREFIX}}`: every text of a list on a line of its own, behind the same words. A template's own
//! `{{#each}}` does the same, and looks its words up anew for each line: a load balancer of a thousand clusters has 100,000.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError,
    RenderErrorReason,
};

pub(super) struct Lines;

impl HelperDef for Lines {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let list = helper.param(0).and_then(|p| p.value().as_array()).ok_or_else(|| wrong("LIST"))?;
        let prefix = helper.param(1).and_then(|p| p.value().as_str()).ok_or_else(|| wrong("PREFIX"))?;
        for (n, line) in list.iter().enumerate() {
            if n > 0 {
                out.write("\n")?;
            }
            out.write(prefix)?;
            out.write(line.as_str().ok_or_else(|| wrong("LIST of texts"))?)?;
        }
        Ok(())
    }
}

fn wrong(what: &str) -> RenderError {
    RenderErrorReason::Other(format!("lines: it takes a LIST of texts and a PREFIX, and this is no {what}"))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str) -> Result<String, String> {
        let mut engine = Handlebars::new();
        engine.register_escape_fn(handlebars::no_escape);
        engine.register_helper("lines", Box::new(Lines));
        let view = json!({"list": ["a", "b c"], "none": [], "maps": [{}]});
        engine.render_template(template, &view).map_err(|e| e.to_string())
    }

    #[test]
    fn every_text_has_a_line_and_the_template_ends_the_last_one() {
        assert_eq!(render("x\n{{lines list \"    bind \"}}\ny").unwrap(), "x\n    bind a\n    bind b c\ny");
        assert_eq!(render("{{lines none \"-\"}}").unwrap(), "");
    }

    #[test]
    fn what_is_no_list_of_texts_is_an_error() {
        for bad in ["{{lines}}", "{{lines list}}", "{{lines maps \"\"}}", "{{lines \"a\" \"b\"}}"] {
            assert!(render(bad).unwrap_err().contains("takes a LIST of texts and a PREFIX"), "{bad}");
        }
    }
}
