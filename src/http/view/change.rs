//! Reports on operators' changes.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::actors::ask::Changed;
use crate::catalog;
use crate::domain::Definition;
use crate::faults::Fault;
use crate::http::problem::Problem;
use crate::ids::ActivityId;

/// What an operator's change did.
#[derive(Serialize, ToSchema)]
pub struct ChangeReport {
    #[schema(example = "1001")]
    activity_id: String,
    /// The version that stands after it.
    #[schema(example = 2)]
    version: u64,
    /// What the activity is doing now: `scheduled`, `running`, `paused` or `ended`.
    #[schema(example = "running")]
    state: &'static str,
    /// Whether an operator paused it, in its window or not.
    #[schema(example = false)]
    paused: bool,
    /// Empty where everything was so already.
    changes: Vec<FieldChange>,
}

/// One field that changed.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"field": "skus.2001.stock", "from": 1000, "to": 1100}))]
pub struct FieldChange {
    /// Such as `title` or `skus.2001.stock`.
    field: String,
    /// `null` where it was not there.
    #[schema(value_type = Value)]
    from: Value,
    /// `null` where it is gone.
    #[schema(value_type = Value)]
    to: Value,
}

impl ChangeReport {
    /// The report on a change.
    pub fn new(activity_id: ActivityId, changed: &Changed) -> Self {
        let flat = |definition: &Definition| flatten(&catalog::to_json(definition));
        let before = changed.before.as_deref().map(flat).unwrap_or_default();
        let mut after = flat(&changed.after);
        let mut changes = Vec::new();
        for (field, from) in before {
            let to = after.remove(&field).unwrap_or(Value::Null);
            if from != to {
                changes.push(FieldChange { field, from, to });
            }
        }
        let is_new = |(field, to)| FieldChange { field, from: Value::Null, to };
        changes.extend(after.into_iter().map(is_new));
        Self {
            activity_id: activity_id.to_string(),
            version: changed.version,
            state: changed.phase.as_str(),
            paused: changed.paused,
            changes,
        }
    }
}

/// A definition's fields by name; those of a SKU as `skus.<sku_id>.<field>`, those of a round as `rounds[<round>].<field>`.
fn flatten(definition: &Value) -> Map<String, Value> {
    let mut flat = Map::new();
    for (name, value) in definition.as_object().into_iter().flatten() {
        let Some(items) = value.as_array() else {
            flat.insert(name.clone(), value.clone());
            continue;
        };
        for (place, item) in items.iter().enumerate() {
            let path = match item["sku_id"].as_str() {
                Some(sku_id) => format!("{name}.{sku_id}"),
                None => format!("{name}[{place}]"),
            };
            let fields = item.as_object().into_iter().flatten().filter(|(name, _)| *name != "sku_id");
            flat.extend(fields.map(|(name, value)| (format!("{path}.{name}"), value.clone())));
        }
    }
    flat
}

/// What a reload of the whole catalogue did.
#[derive(Default, Serialize, ToSchema)]
pub struct ReloadReport {
    /// What was applied, or had nothing to apply.
    pub activities: Vec<ChangeReport>,
    /// What was not.
    pub faults: Vec<EntryFault>,
}

/// Why an entry of the catalogue was not applied.
#[derive(Serialize, ToSchema)]
pub struct EntryFault {
    /// Missing where the fault is of no single activity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "1001")]
    activity_id: Option<String>,
    /// As a problem's code.
    #[schema(example = "invalid_definition")]
    code: &'static str,
    /// For people.
    detail: String,
    /// All faults of the entry, by line, where it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Value>>)]
    errors: Option<Value>,
}

impl EntryFault {
    /// Why an activity's entry was not applied.
    pub fn of(activity_id: ActivityId, problem: &Problem) -> Self {
        Self {
            activity_id: Some(activity_id.to_string()),
            code: problem.code(),
            detail: problem.detail().to_owned(),
            errors: problem.member("errors").cloned(),
        }
    }

    /// What is wrong beside the activities, such as a file that names none.
    pub fn of_stray(stray: &Fault) -> Self {
        Self { activity_id: None, code: "invalid_definition", detail: stray.in_one_line(), errors: None }
    }
}
