//! The schema and its limits.

use async_graphql::SDLExportOptions;

use super::cost::Cost;
use super::error::Errors;
use super::mutation::Mutation;
use super::object::user_error::UserError;
use super::query::Query;
use super::subscription::{LiveUpdate, Subscription};
use crate::config::Limits;

/// The schema.
pub type Schema = async_graphql::Schema<Query, Mutation, Subscription>;

/// Deepest nesting that is parsed at all, fragments and introspection included; the stack is not endless.
const RECURSION_MAX: usize = 32;

/// Builds the schema.
///
/// Depth      a deeper query nests connections in connections, or is not written by a person.
/// Complexity what a query may load: see [`Cost`]. async-graphql's own measure counts scalars and would have to be
///            told of each field by hand.
/// Aliases    the same field a thousand times is a thousand queries in one; validation alone would take seconds.
/// Directives twenty thousand `@skip` on one field pass every other limit.
pub fn schema(limits: &Limits) -> Schema {
    let builder = async_graphql::Schema::build(Query::default(), Mutation::default(), Subscription)
        .register_output_type::<UserError>()
        .register_output_type::<LiveUpdate>()
        .limit_recursive_depth(RECURSION_MAX)
        .limit_depth(limits.depth_max)
        .limit_aliases(limits.aliases_max)
        .limit_directives(limits.directives_max)
        .extension(Errors)
        .extension(Cost::new(limits.complexity_max));
    #[cfg(feature = "testing")]
    let builder = match super::coverage::wanted() {
        Some(coverage) => builder.extension(coverage),
        None => builder,
    };
    builder.finish()
}

/// The schema as text, the same at every call.
pub fn sdl() -> String {
    schema(&Limits::default()).sdl_with_options(
        SDLExportOptions::new()
            .sorted_fields()
            .sorted_arguments()
            .sorted_enum_items()
            .include_specified_by()
            .prefer_single_line_descriptions()
            .use_space_ident(),
    )
}
