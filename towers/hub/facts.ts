import type { Pooling } from '../space.ts';

/** What somebody says about a tower in hub layout: it goes before what the tower's files say. */
export interface HubFacts {
  license?: string | undefined;
  pooling?: Pooling | undefined;
  normalize?: boolean | undefined;
  maxTokens?: number | undefined;
  documentPrompt?: string | undefined;
  queryPrompt?: string | undefined;
  /** Components to keep of each vector (Matryoshka). */
  dimensions?: number | undefined;
}
