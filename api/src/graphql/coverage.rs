//! Which parts of the schema the tests execute; compiled only with the feature `testing`.
//!
//! Where     with `TEST_COORDINATES_DIR` set, every coordinate is appended once to a file of this process in that
//!           directory, one to a line, in the form of the specification: `Type.field`, `Type.field(argument:)`,
//!           `Input.field`, `Enum.VALUE`. `tests/run` puts the files together and fails when something of the schema
//!           is missing (`tests/clients/coordinates.mjs`).
//! Executed  a field whose resolver answered, an argument or input field that was given to it, an enum value that was
//!           given or answered. A document that is refused executes nothing, nor does a field that ends in an error, or
//!           in an entry of a list that does.
//! Source    schema coordinates: <https://spec.graphql.org/September2025/#sec-Schema-Coordinates>

use std::collections::HashSet;
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::mem::take;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_graphql::async_trait::async_trait;
use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextExecute, NextPrepareRequest, NextResolve, ResolveInfo,
};
use async_graphql::registry::{MetaType, MetaTypeName, Registry};
use async_graphql::{PathSegment, Request, Response, ServerError, ServerResult, Value, Variables};

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
        Arc::new(Recorder::default())
    }
}

/// Records one request.
#[derive(Default)]
struct Recorder {
    variables: OnceLock<Variables>,
    /// What was resolved for the answer that is being made.
    resolved: Mutex<Vec<Resolved>>,
}

/// A field, by its path in the answer, and the coordinates that it executes.
struct Resolved {
    path: Vec<String>,
    found: Vec<String>,
}

impl Resolved {
    /// Whether it is part of what an error stands for.
    fn is_of(&self, error: &ServerError) -> bool {
        let failed = error.path.iter().map(|segment| match segment {
            PathSegment::Field(name) => name.clone(),
            PathSegment::Index(index) => index.to_string(),
        });
        let failed: Vec<_> = failed.collect();
        self.path.starts_with(&failed)
    }
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
        let (answer_type, path) = (info.return_type.to_owned(), info.path_node.to_string_vec());
        let answer = next.run(ctx, info).await;
        if let Ok(Some(value)) = &answer {
            of_enum(registry, &answer_type, value, &mut found);
        }
        if answer.is_ok() {
            self.resolved.lock().unwrap_or_else(PoisonError::into_inner).push(Resolved { path, found });
        }
        answer
    }

    /// What failed is known when all is answered: a field that may be null becomes null.
    async fn execute(
        &self,
        ctx: &ExtensionContext<'_>,
        operation_name: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let response = next.run(ctx, operation_name).await;
        let resolved = take(&mut *self.resolved.lock().unwrap_or_else(PoisonError::into_inner));
        for one in resolved {
            if !response.errors.iter().any(|error| one.is_of(error)) {
                record(one.found);
            }
        }
        response
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
