/* Line icons, 16 px, drawn here: a font or a package would be heavier. */

const PATHS = {
  search: "M7 12.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11ZM11 11l3.5 3.5",
  sun: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1",
  moon: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7Z",
  clock: "M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM8 4.5V8l2.5 1.5",
  columns: "M2 2.5h12v11H2zM6 2.5v11M10 2.5v11",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  left: "M10 3 5 8l5 5",
  right: "M6 3l5 5-5 5",
  up: "M3 10l5-5 5 5",
  down: "M3 6l5 5 5-5",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  link: "M6.5 9.5l3-3M7 4.5l1.5-1.5a3 3 0 0 1 4.5 4.5L11.5 9M9 11.5 7.5 13A3 3 0 0 1 3 8.500L4.5 7",
  download: "M8 2v8M4.5 7 8 10.5 11.5 7M2.5 13.500h11",
  refresh: "M13.5 8a5.5 5.5 0 1 1-1.6-3.900M13.5 1.500v3h-3",
  star: "M8 2l1.8 3.9 4.2.5-3.1 2.9.8 4.200L8 11.400l-3.7 2.1.8-4.200L2 6.400l4.2-.5Z",
  play: "M4.5 2.500v11l9-5.500Z",
  pause: "M5 2.500v11M11 2.500v11",
  menu: "M2 4h12M2 8h12M2 12h12",
  user: "M8 8a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM2.5 14a5.5 5.5 0 0 1 11 0",
  eye: "M1.5 8s2.500-4.500 6.500-4.500S14.500 8 14.500 8s-2.500 4.500-6.500 4.500S1.500 8 1.500 8ZM8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  expand: "M9.5 2.500h4v4M6.5 13.500h-4v-4M13.5 2.5 9 7M2.5 13.5 7 9",
  table: "M2 3h12v10H2zM2 6.500h12M2 9.700h12M6 6.500V13",
  chart: "M2 13.500h12M4 11V8M7 11V4M10 11V6M13 11V9",
  trash: "M3 4.500h10M6 4.500v-2h4v2M4.5 4.500l.500 9h6l.500-9",
  plus: "M8 3v10M3 8h10",
  help: "M8 14.500a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM6 6a2 2 0 1 1 3 1.700c-.7.4-1 .8-1 1.500M8 11.500v.2",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 16 16" fill="none"
      stroke="currentColor" strokeWidth="1.5" strokeLinecap="round"
      strokeLinejoin="round" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Mark() {
  return (
    <svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      {[0, 1, 2].flatMap((y) => [0, 1, 2].map((x) => (
        <rect key={`${x}${y}`} x={x * 7} y={y * 7} width="6" height="6" rx="1.2"
          fill="var(--accent)" opacity={x === y ? 1 : Math.abs(x - y) === 1 ? 0.5 : 0.25} />)))}
    </svg>
  );
}
