import type { ComponentChildren } from 'preact';

/** Says that there is nothing yet, and what to do next. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}

type ProblemProps = { children: ComponentChildren; action?: { label: string; run: () => void } };

/** Something that went wrong, with what helps; nothing where there are no words for it. */
export function Problem({ children, action }: ProblemProps) {
  if (children === undefined) return null;
  return (
    <div class="problem" role="alert">
      <p>{children}</p>
      {action && (
        <button type="button" onClick={action.run}>
          {action.label}
        </button>
      )}
    </div>
  );
}

/** A command for a terminal. */
export function Command({ children }: { children: string }) {
  return (
    <pre class="command" tabIndex={0}>
      <code>{children}</code>
    </pre>
  );
}
