/** What a credential may allow, as people write it; `proto/scalingnote/v1/access.proto` says what each is for. */
export const SCOPES = ['search', 'encode', 'ingest', 'delete', 'admin', 'metrics'] as const;

/** What a credential may allow. */
export type Scope = (typeof SCOPES)[number];
