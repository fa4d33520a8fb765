import type { ComponentChildren } from 'preact';

/** A table. Numbers and names that begin with "#" make columns of numbers. */
export function Table({ head, rows }: { head: readonly string[]; rows: readonly ComponentChildren[][] }) {
  const kind = (column: number): string | undefined => (head[column]?.startsWith('#') ? 'number' : undefined);
  const names = head.map((name) => name.replace('#', ''));
  const cells = (row: ComponentChildren[]) => row.map((cell, index) => <td class={kind(index)}>{cell}</td>);
  return (
    <div class="scroll">
      <table>
        {names.some((name) => name !== '') && (
          <thead>
            <tr>
              {names.map((name, index) => (
                <th class={kind(index)}>{name}</th>
              ))}
            </tr>
          </thead>
        )}
        <tbody>
          {rows.map((row) => (
            <tr>{cells(row)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
