import { openApi } from './document.ts';

/** Where a service says what it answers with JSON. */
export const OPENAPI_PATH = '/openapi.json';

/** The text of the document, made when somebody asks for the first time. @param paths of the methods of the service */
export function openApiText(paths: Iterable<string>): () => string {
  const own = [...paths];
  let text: string | undefined;
  return () => (text ??= JSON.stringify(openApi(own)));
}
