/** Where a page searches as its user types. */
export const SEARCH_STREAM_PATH = '/v1/search-stream';

/** What a session may be called: so long that nobody guesses the name of another's. */
export const SESSION_NAME = /^[\w-]{16,64}$/;
