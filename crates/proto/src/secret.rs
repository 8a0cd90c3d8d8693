//! A value that no format ever shows, in any build, and that is wiped when it is dropped.

use core::fmt;

use zeroize::Zeroize;

/// A password, a token, a digest: anything that must not reach a log.
///
/// `Debug` prints a fixed mark; there is no `Display`. The content is reached by [`Secret::expose`] alone, so that
/// every use can be found by its name.
///
/// ```
/// use restante_proto::Secret;
/// let password = Secret::new(b"abcxyz".to_vec());
/// assert_eq!(format!("{password:?}"), "Secret(…)");
/// assert_eq!(password.expose(), b"abcxyz");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the value in.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. The caller sees to it that it is not written anywhere.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}
