//! How the keys of a table are declared: [`keys!`] makes of a struct with doc comments what reads
//! it, and its [`Section`] of the reference and the JSON schema.

use crate::{section::Section, source::Table};

/// A struct whose fields are the keys of a table, declared with [`keys!`].
pub(crate) trait Keys: Sized {
    /// The table.
    const SECTION: &'static Section;

    /// Reads them all. What is wrong is reported, and gives way to its default; `None` when
    /// a required key is missing or wrong.
    fn of_table(table: &Table<'_>) -> Option<Self>;
}

/// Declares the keys of a table as the fields of a struct.
///
/// A key is a field and its doc comment, which is its text in the reference and the schema:
///
/// ```text
/// /// For the readers of the reference.
/// pub the_key: Type = default,                  // `the-key`, by default this value
/// the_key: Type = default => "in words",        // by default this value, which the reference puts so
/// the_key: Type => "example",                   // required; an error shows the example
/// the_key as "type": Type ..,                   // with a name that is no field's
/// the_key: Type as Form ..,                     // written as a `Form`, kept as a `Type`
/// ```
///
/// What may be written, its bounds among them, is up to the type: see [`Form`](crate::source::Form).
/// `of ["echo"]` after the header: only services of these types have the keys. `: Default` after
/// the name: the struct has the defaults of its keys, all of which have one; `+ Settings`: it can
/// list what they are set to.
macro_rules! keys {
    (
        $(#[doc = $about:literal])*
        #[derive($($derive:ident),*)]
        $header:literal $(of [$($of:literal),*])?;
        $vis:vis struct $name:ident $(: $default_trait:ident $(+ $settings:ident)?)? {
            $(
                $(#[doc = $doc:literal])*
                $field_vis:vis $field:ident $(as $key:literal)? :
                $type:ty $(as $form:ty)? $(= $default:expr)? $(=> $shown:expr)?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $about])*
        #[derive($($derive),*)]
        $vis struct $name {
            $($(#[doc = $doc])* $field_vis $field: $type),*
        }

        impl $crate::keys::Keys for $name {
            const SECTION: &'static $crate::section::Section = {
                const OF: &[&str] = keys!(@of $([$($of),*])?);
                &$crate::section::Section {
                    header: $header,
                    docs: &[$($about),*],
                    keys: &[$($crate::section::Key {
                        name: keys!(@name $field $(as $key)?),
                        docs: &[$($doc),*],
                        form: <keys!(@form $type $(as $form)?) as $crate::source::Form>::NAME,
                        schema: <keys!(@form $type $(as $form)?) as $crate::source::Form>::schema,
                        default: keys!(
                            @shown (keys!(@form $type $(as $form)?)) $(= $default)? $(=> $shown)?
                        ),
                        of: OF,
                    }),*],
                    more: &[],
                }
            };

            fn of_table(table: &$crate::source::Table<'_>) -> Option<Self> {
                // Every key is read before a missing one ends it: all errors are reported.
                $(let $field = keys!(
                    @read table, keys!(@name $field $(as $key)?),
                    (keys!(@form $type $(as $form)?)) $(= $default)? $(=> $shown)?
                );)*
                Some(Self { $($field: $field?),* })
            }
        }

        impl $crate::source::Form for $name {
            const NAME: &'static str = "a table";

            fn schema() -> serde_json::Value {
                <Self as $crate::keys::Keys>::SECTION.schema()
            }

            fn read(value: &$crate::source::Value<'_>) -> Option<Self> {
                let table = value.table(<Self as $crate::keys::Keys>::SECTION)?;
                $crate::keys::Keys::of_table(&table)
            }
        }

        keys!(@default [$($default_trait)?] $name { $($field $(= $default)?),* });
        keys!(@settings [$($($settings)?)?] $name {
            $($field (keys!(@form $type $(as $form)?))),*
        });
    };
    (@name $field:ident as $key:literal) => { $key };
    (@name $field:ident) => {{
        const FIELD: &str = stringify!($field);
        const KEY: [u8; FIELD.len()] = $crate::keys::dashed(FIELD);
        match str::from_utf8(&KEY) {
            Ok(key) => key,
            Err(_) => FIELD,
        }
    }};
    (@form $type:ty) => { $type };
    (@form $type:ty as $form:ty) => { $form };
    (@of) => { &[] };
    (@of [$($of:literal),*]) => { &[$($of),*] };
    (@shown ($form:ty) = $default:expr) => {
        Some(|| $crate::form::Show::show(&<$form>::from($default)))
    };
    (@shown ($form:ty) = $default:expr => $shown:expr) => { Some(|| String::from($shown)) };
    (@shown ($form:ty) => $example:expr) => { None };
    (@read $table:ident, $key:expr, ($form:ty) = $default:expr $(=> $shown:expr)?) => {
        Some($table.read::<$form>($key).map_or_else(|| $default, Into::into))
    };
    (@read $table:ident, $key:expr, ($form:ty) => $example:expr) => {
        $table.require::<$form>($key, $example).map(Into::into)
    };
    (@settings [] $name:ident { $($any:tt)* }) => {};
    (@settings [Settings] $name:ident { $($field:ident ($form:ty)),* }) => {
        impl $name {
            /// What its keys are set to, as it would be written in a file.
            pub(crate) fn settings(&self) -> String {
                let settings = [$((
                    keys!(@name $field),
                    $crate::form::Show::show(&<$form>::from(self.$field)),
                )),*];
                let line = |(key, value): &(_, String)| format!("{key} = {}", value.replace('`', ""));
                let header = <Self as $crate::keys::Keys>::SECTION.header;
                let settings: Vec<_> = settings.iter().map(line).collect();
                format!("{header} {}", settings.join(", "))
            }
        }
    };
    (@default [] $name:ident { $($any:tt)* }) => {};
    (@default [Default] $name:ident { $($field:ident = $default:expr),* }) => {
        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }
    };
}
pub(crate) use keys;

/// The key of a field: dashes for underscores.
pub(crate) const fn dashed<const LEN: usize>(field: &str) -> [u8; LEN] {
    let mut key = [0; LEN];
    let (mut from, mut to): (&[u8], &mut [u8]) = (field.as_bytes(), &mut key);
    while let ([byte, rest @ ..], [place, free @ ..]) = (from, to) {
        *place = if *byte == b'_' { b'-' } else { *byte };
        (from, to) = (rest, free);
    }
    key
}
