//! A listing without pages: items come one by one, and the pages behind them are asked for when they are needed.

use super::failure::Failure;
use futures_core::Stream;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Items of a listing, in its order. Holds at most one page. After a failure it gives nothing more; dropping it asks for
/// nothing more.
pub struct ItemStream<'a, T> {
    items: Pin<Box<dyn Stream<Item = Result<T, Failure>> + Send + 'a>>,
    ended: bool,
}

impl<'a, T: Send + 'a> ItemStream<'a, T> {
    /// The items of any stream.
    pub fn new(items: impl Stream<Item = Result<T, Failure>> + Send + 'a) -> Self {
        Self { items: Box::pin(items), ended: false }
    }

    /// A stream that is only this failure.
    pub fn failed(failure: Failure) -> Self {
        let mut failure = Some(failure);
        Self::pages(move |_: Option<()>| {
            let failure = failure.take();
            async move { failure.map_or(Ok((Vec::new(), None)), Err) }
        })
    }

    /// The items of one page after the other. `fetch` gets `None` for the first page, then the token that the page before
    /// it gave; a page without a token is the last one.
    pub fn pages<K, F, Fut>(fetch: F) -> Self
    where
        K: Send + 'a,
        F: FnMut(Option<K>) -> Fut + Send + 'a,
        Fut: Future<Output = Result<(Vec<T>, Option<K>), Failure>> + Send + 'a,
    {
        Self::new(Pages { fetch, state: State::Next(None), items: VecDeque::new() })
    }

    /// The items in another form.
    pub fn map_items<U: Send + 'a>(
        self,
        form: impl FnMut(T) -> Result<U, Failure> + Send + 'a,
    ) -> ItemStream<'a, U> {
        ItemStream::new(Mapped { items: self, form })
    }

    /// The next item; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<T, Failure>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// All items that are left.
    ///
    /// # Errors
    /// The first failure; a [`Validation`](super::CloudError::Validation) when there are more than `items_max`.
    pub async fn collect(mut self, items_max: usize) -> Result<Vec<T>, Failure> {
        let mut items = Vec::new();
        while let Some(item) = self.next().await.transpose()? {
            if items.len() == items_max {
                let text = format!("the listing has more than {items_max} items");
                return Err(super::CloudError::Validation(text).into());
            }
            items.push(item);
        }
        Ok(items)
    }
}

impl<T> Stream for ItemStream<'_, T> {
    type Item = Result<T, Failure>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let item = ready!(this.items.as_mut().poll_next(context));
        this.ended = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

impl<T> fmt::Debug for ItemStream<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemStream").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// Items in another form.
struct Mapped<'a, T, F> {
    items: ItemStream<'a, T>,
    form: F,
}

// The items lie in a box, and the function is only called.
impl<T, F> Unpin for Mapped<'_, T, F> {}

impl<T, U, F: FnMut(T) -> Result<U, Failure>> Stream for Mapped<'_, T, F> {
    type Item = Result<U, Failure>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let item = ready!(Pin::new(&mut this.items).poll_next(context));
        Poll::Ready(item.map(|item| item.and_then(&mut this.form)))
    }
}

/// Pages as a stream of their items.
struct Pages<T, K, F, Fut> {
    fetch: F,
    state: State<K, Fut>,
    items: VecDeque<T>,
}

enum State<K, Fut> {
    /// The page with this token is to be asked for.
    Next(Option<K>),
    Fetching(Pin<Box<Fut>>),
    /// The items that are there are the last ones.
    Last,
}

// Nothing in it is pinned in place: the future lies in a box of its own.
impl<T, K, F, Fut> Unpin for Pages<T, K, F, Fut> {}

impl<T, K, F, Fut> Stream for Pages<T, K, F, Fut>
where
    F: FnMut(Option<K>) -> Fut,
    Fut: Future<Output = Result<(Vec<T>, Option<K>), Failure>>,
{
    type Item = Result<T, Failure>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(item) = this.items.pop_front() {
                return Poll::Ready(Some(Ok(item)));
            }
            match &mut this.state {
                State::Next(token) => {
                    let token = token.take();
                    this.state = State::Fetching(Box::pin((this.fetch)(token)));
                }
                State::Fetching(page) => {
                    let page = ready!(page.as_mut().poll(context));
                    this.state = State::Last;
                    let (items, token) = match page {
                        Ok(page) => page,
                        Err(failure) => return Poll::Ready(Some(Err(failure))),
                    };
                    this.items = items.into();
                    if token.is_some() {
                        this.state = State::Next(token);
                    }
                }
                State::Last => return Poll::Ready(None),
            }
        }
    }
}
