//! Which parts of the schema the tests execute; compiled only with the feature `testing`.
//!
//! Where     with `TEST_COORDINATES_DIR` set, every coordinate is appended once to a file of this process in that
//!           directory, one to a line, in the form of the specification: `Type.field`, `Type.field(argument:)`,
//!           `Input.field`, `Enum.VALUE`. `tests/run` puts the files together and fails when something of the schema
//!           is missing (`tests/clients/coordinates.mjs`).
//! Executed  a field whose resolver ran, an argument or input field that was given to it, an enum value that was given
//!           or answered. A document that is refused executes nothing.
//! Source    schema coordinates: <https://spec.graphql.org/September2025/#sec-Schema-Coordinates>

use std::collections::HashSet;
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_graphql::async_trait::async_trait;
use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextPrepareRequest, NextResolve, ResolveInfo,
};
use async_graphql::registry::{MetaType, MetaTypeName, Registry};
use async_graphql::{Request, ServerResult, Value, Variables};

/// The directory that the files go to.
const DIRECTORY: &str = "TEST_COORDINATES_DIR";

/// The extension, if anybody wants to know.
pub(super) fn wanted() -> Option<Coverage> {
    std::env::var_os(DIRECTORY).map(|_| Coverage)
}

/// Records what requests execute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coverage;

impl ExtensionFactory for Coverage {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Recorder { variables: OnceLock::new() })
    }
}

/// Records one request.
struct Recorder {
    variables: OnceLock<Variables>,
}

#[async_trait]
impl Extension for Recorder {
    async fn prepare_request(
        &self,
        ctx: &ExtensionContext<'_>,
        request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        let request = next.run(ctx, request).await?;
        let _ = self.variables.set(request.variables.clone());
        Ok(request)
    }

    async fn resolve(
        &self,
        ctx: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        if info.is_for_introspection {
            return next.run(ctx, info).await;
        }
        let registry = &ctx.schema_env.registry;
        let mut found = vec![format!("{}.{}", info.parent_type, info.name)];
        let known = registry.types.get(info.parent_type).and_then(|parent| parent.field_by_name(info.name));
        for (name, given) in &info.field.arguments {
            // An absent variable counts as null, and null as not given.
            let value = given.node.clone().into_const_with(|name| {
                Ok::<_, Infallible>(self.variables.get().and_then(|all| all.get(&name).cloned()).unwrap_or_default())
            });
            let Some(value) = value.ok().filter(|value| *value != Value::Null) else { continue };
            found.push(format!("{}.{}({}:)", info.parent_type, info.name, name.node));
            if let Some(argument) = known.and_then(|field| field.args.get(name.node.as_str())) {
                of_input(registry, &argument.ty, &value, &mut found);
            }
        }
        let answer_type = info.return_type.to_owned();
        let answer = next.run(ctx, info).await;
        if let Ok(Some(value)) = &answer {
            of_enum(registry, &answer_type, value, &mut found);
        }
        record(found);
        answer
    }
}

/// The input fields and enum values in a value of type `ty`.
fn of_input(registry: &Registry, ty: &str, value: &Value, found: &mut Vec<String>) {
    let name = MetaTypeName::concrete_typename(ty);
    match (registry.types.get(name), value) {
        (_, Value::List(list)) => list.iter().for_each(|value| of_input(registry, ty, value, found)),
        (Some(MetaType::InputObject { input_fields, .. }), Value::Object(given)) => {
            for (field, value) in given {
                if let Some(known) = input_fields.get(field.as_str()) {
                    found.push(format!("{name}.{field}"));
                    of_input(registry, &known.ty, value, found);
                }
            }
        }
        _ => of_enum(registry, ty, value, found),
    }
}

/// The enum values in a value of type `ty`; a variable carries them as text.
fn of_enum(registry: &Registry, ty: &str, value: &Value, found: &mut Vec<String>) {
    let name = MetaTypeName::concrete_typename(ty);
    if !matches!(registry.types.get(name), Some(MetaType::Enum { .. })) {
        return;
    }
    match value {
        Value::List(list) => list.iter().for_each(|value| of_enum(registry, ty, value, found)),
        Value::Enum(value) => found.push(format!("{name}.{value}")),
        Value::String(value) => found.push(format!("{name}.{value}")),
        _ => {}
    }
}

/// Writes those that this process has not written yet.
fn record(found: Vec<String>) {
    static FILE: OnceLock<Mutex<(HashSet<String>, File)>> = OnceLock::new();
    let shared = FILE.get_or_init(|| {
        let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap_or_default());
        let path = directory.join(format!("{}.txt", std::process::id()));
        let file = OpenOptions::new().create(true).append(true).open(path).expect("the directory is there");
        Mutex::new((HashSet::new(), file))
    });
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    for coordinate in found {
        if !shared.0.contains(&coordinate) {
            writeln!(shared.1, "{coordinate}").expect("the file takes a line");
            shared.0.insert(coordinate);
        }
    }
}
