//! JSON and YAML in templates.

use std::collections::BTreeMap;

use super::{Answer, Call, Fault, Function, exactly};
use crate::template::json::{self, Layout, Numbers};
use crate::template::value::{Text, Value};
use crate::template::yaml;

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("fromJson", 1, |call| Ok(read(call)?.unwrap_or(Value::Nil))),
    exactly("fromYaml", 1, |call| {
        let text = call.text(0)?;
        call.allocate(text.len() * 8)?;
        // External Secrets tells an error in a map instead of failing.
        Ok(yaml::read(&text, call.budget)?.map(yaml::as_json).unwrap_or_else(|_| {
            Value::map(BTreeMap::from([(Text::from("Error"), Value::text("error converting YAML to JSON"))]))
        }))
    }),
    exactly("mustFromJson", 1, |call| read(call)?.ok_or_else(|| Fault::new("the text is not JSON"))),
    exactly("mustToJson", 1, |call| must_write(call, HTML)),
    exactly("mustToPrettyJson", 1, |call| must_write(call, PRETTY)),
    exactly("mustToRawJson", 1, |call| must_write(call, Layout::default())),
    exactly("toJson", 1, |call| write(call, HTML)),
    exactly("toPrettyJson", 1, |call| write(call, PRETTY)),
    exactly("toRawJson", 1, |call| must_write(call, Layout::default())),
    exactly("toYaml", 1, |call| Ok(Value::bytes(yaml::write(&call.any(0), call.budget)?))),
];

const HTML: Layout = Layout { escapes_html: true, is_pretty: false };
const PRETTY: Layout = Layout { escapes_html: true, is_pretty: true };

fn read(call: &mut Call<'_, '_>) -> Result<Option<Value>, Fault> {
    let text = call.text(0)?;
    call.allocate(text.len() * 8)?;
    Ok(json::read(&text, Numbers::Floats).ok())
}

/// Sprig writes nothing for what JSON cannot say.
fn write(call: &mut Call<'_, '_>, layout: Layout) -> Answer {
    Ok(Value::bytes(json::write(&call.arguments[0], layout)?.unwrap_or_default()))
}

fn must_write(call: &mut Call<'_, '_>, layout: Layout) -> Answer {
    let written = json::write(&call.arguments[0], layout)?;
    Ok(Value::bytes(written.map_err(|_| Fault::new("JSON has no word for the value"))?))
}
