//! The routes and their description, made from the same list so that neither can have what the other lacks.

use std::sync::LazyLock;

use axum::Router;
use axum::body::Bytes;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use utoipa::openapi::path::{HttpMethod, Operation};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, Header, HeaderBuilder, InfoBuilder, KnownFormat,
    LicenseBuilder, OpenApi, Paths, Ref, RefOr, ResponseBuilder, ResponsesBuilder, Server,
};
// Implemented by what `#[utoipa::path]` makes; utoipa-axum builds on it too.
use utoipa::__dev::SchemaReferences;
use utoipa::{PartialSchema, ToSchema};

use super::Parts;
use super::envelope::json_bytes;

/// Any JSON value.
#[derive(ToSchema)]
#[schema(value_type = serde_json::Value)]
#[expect(dead_code, reason = "stands for what others write")]
pub(super) struct Any(serde_json::Value);

/// A refusal in the API's envelope.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what envelope() writes")]
pub(super) struct Refused {
    /// `list`
    #[schema(pattern = "^list$")]
    r#type: String,
    /// Always null here.
    #[schema(required)]
    #[serde(rename = "correlationId")]
    correlation_id: Option<String>,
    data: Vec<RefusedWhy>,
}

/// What was wrong.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what envelope() writes")]
pub(super) struct RefusedWhy {
    /// `error`
    #[schema(pattern = "^error$")]
    r#type: String,
    /// The API's code, such as `parameter-not-valid`.
    code: String,
    title: String,
    /// What it was this time.
    detail: String,
}

/// A moment that a client writes: RFC 3339, or Unix milliseconds.
pub(super) struct Moment;

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
        let number = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0));
        OneOfBuilder::new().item(text).item(number).into()
    }
}

impl ToSchema for Moment {}

/// What every route may answer besides what it says of itself.
const ALWAYS: [(StatusCode, &str); 8] = [
    (
        StatusCode::UNAUTHORIZED,
        "The token is missing or wrong, where there is one",
    ),
    (
        StatusCode::FORBIDDEN,
        "A page of another origin has caused the request",
    ),
    (
        StatusCode::REQUEST_TIMEOUT,
        "The body has not arrived in time",
    ),
    (
        StatusCode::PAYLOAD_TOO_LARGE,
        "The body has more than 64 KiB",
    ),
    (
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "What changes something must be application/json",
    ),
    (
        StatusCode::MISDIRECTED_REQUEST,
        "The Host header names somebody else",
    ),
    (
        StatusCode::BAD_REQUEST,
        "A parameter, a header or the body cannot be taken; the detail says which",
    ),
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "Not just now: the database is locked or full, too many requests wait or read lists, or too many answers are \
         still being sent",
    ),
];

/// Routes with their description.
pub(super) struct Described {
    pub(super) router: Router<Parts>,
    document: OpenApi,
}

impl Described {
    pub(super) fn new() -> Self {
        let license = LicenseBuilder::new()
            .name("MIT")
            .identifier(Some("MIT"))
            .build();
        let info = InfoBuilder::new()
            .title("jobtrackd")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(
                "The status server of jobtrackd: the jobs it follows, their history and their events.",
            ))
            .license(Some(license))
            .build();
        let mut document = OpenApi::new(info, Paths::new());
        document.servers = Some(vec![Server::new("/")]);
        let bearer = SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("The token of `status.token_file`, where there is one"))
                .build(),
        );
        let components = ComponentsBuilder::new().security_scheme("bearer", bearer);
        document.components = Some(components.build());
        let token = SecurityRequirement::new("bearer", Vec::<String>::new());
        document.security = Some(vec![SecurityRequirement::default(), token]);
        Self {
            router: Router::new(),
            document,
        }
    }

    /// Adds a route: method and path are those of its description.
    pub(super) fn route<D, H, T>(self, _description: D, handler: H) -> Self
    where
        D: utoipa::Path + SchemaReferences,
        H: Handler<T, Parts>,
        T: 'static,
    {
        let methods = D::methods();
        let methods = methods.iter().map(filter);
        let Some(methods) = methods.reduce(MethodFilter::or) else {
            return self;
        };
        self.add::<D>(on(methods, handler))
    }

    fn add<D: utoipa::Path + SchemaReferences>(mut self, route: MethodRouter<Parts>) -> Self {
        let mut operation = D::operation();
        always(&mut operation);
        let mut schemas = Vec::new();
        D::schemas(&mut schemas);
        Refused::schemas(&mut schemas);
        schemas.push((Refused::name().into_owned(), Refused::schema()));
        let components = self.document.components.take().unwrap_or_default();
        let components = ComponentsBuilder::from(components).schemas_from_iter(schemas);
        self.document.components = Some(components.build());
        let path = D::path();
        let paths = &mut self.document.paths;
        paths.add_path_operation(&path, D::methods(), operation);
        self.router = self.router.route(&path, route);
        self
    }

    /// The routes of both.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.document.merge(other.document);
        self
    }

    /// Changes all routes so far, not their description.
    pub(super) fn with(mut self, change: impl FnOnce(Router<Parts>) -> Router<Parts>) -> Self {
        self.router = change(self.router);
        self
    }

    /// The document as JSON.
    pub(super) fn document(&self) -> String {
        // A document of our own making can always be written.
        self.document.to_json().unwrap_or_default()
    }
}

fn filter(method: &HttpMethod) -> MethodFilter {
    match method {
        HttpMethod::Get => MethodFilter::GET,
        HttpMethod::Post => MethodFilter::POST,
        HttpMethod::Put => MethodFilter::PUT,
        HttpMethod::Delete => MethodFilter::DELETE,
        HttpMethod::Options => MethodFilter::OPTIONS,
        HttpMethod::Head => MethodFilter::HEAD,
        HttpMethod::Patch => MethodFilter::PATCH,
        HttpMethod::Trace => MethodFilter::TRACE,
    }
}

fn retry_after() -> Header {
    let seconds = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1));
    HeaderBuilder::new()
        .schema(seconds)
        .description(Some("Seconds after which to come again"))
        .build()
}

fn always(operation: &mut Operation) {
    let known = &operation.responses.responses;
    let missing = ALWAYS
        .into_iter()
        .filter(|(status, _)| !known.contains_key(status.as_str()));
    let mut more = ResponsesBuilder::new();
    for (status, description) in missing {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(Refused::name())))
            .build();
        let mut response = ResponseBuilder::new()
            .description(description)
            .content("application/json", content);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response = response.header("retry-after", retry_after());
        }
        more = more.response(status.as_str(), response);
    }
    operation.responses.responses.extend(more.build().responses);
}

/// This document
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "health",
    responses(
        (status = 200, description = "OpenAPI 3.1", body = std::collections::HashMap<String, Any>),
        (status = 304, description = "The client has it already"),
    )
)]
pub(super) async fn openapi() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| super::described().document().into());
    json_bytes(DOCUMENT.clone())
}
