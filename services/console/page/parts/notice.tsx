import type { ComponentChildren } from 'preact';

/** Something that there is not, or not yet, with what to do next. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}

/** Something that went wrong, said once, with what helps. */
export function Problem({
  children,
  action,
}: {
  children: ComponentChildren;
  action?: { label: string; run: () => void };
}) {
  return (
    <div class="problem" role="alert">
      <p>{children}</p>
      {action === undefined ? null : (
        <button type="button" onClick={action.run}>
          {action.label}
        </button>
      )}
    </div>
  );
}

/** A command to be typed into a terminal. */
export function Command({ children }: { children: string }) {
  return (
    <pre class="command" tabIndex={0}>
      <code>{children}</code>
    </pre>
  );
}
