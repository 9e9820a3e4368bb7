import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from "@mantine/core";

/* Ten shades around the accent: #006A8E under white, #5AD7E0 under #12161C. */
const accent: MantineColorsTuple = [
  "#E6F4F8", "#CBE7EF", "#9AD2E1", "#5AD7E0", "#33A9C4", "#0E88AB", "#006A8E",
  "#005A79", "#004A64", "#00394E",
];

const neutral: MantineColorsTuple = [
  "#C9D1D9", "#AEB9C4", "#8B949E", "#66707C", "#3A4450", "#2B333E", "#1C222B",
  "#12161C", "#0D1116", "#080B0F",
];

export const theme = createTheme({
  primaryColor: "accent",
  primaryShade: { light: 6, dark: 3 },
  autoContrast: true,
  luminanceThreshold: 0.35,
  colors: { accent, dark: neutral },
  white: "#FFFFFF",
  black: "#12161C",
  fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
  fontFamilyMonospace: "ui-monospace, 'SF Mono', 'Cascadia Mono', Menlo, 'DejaVu Sans Mono', monospace",
  fontSizes: { xs: "12px", sm: "13px", md: "14px", lg: "16px", xl: "20px" },
  lineHeights: { xs: "1.35", sm: "1.4", md: "1.43", lg: "1.4", xl: "1.3" },
  headings: { fontWeight: "600", sizes: {
    h1: { fontSize: "20px", lineHeight: "1.3" },
    h2: { fontSize: "16px", lineHeight: "1.4" },
    h3: { fontSize: "14px", lineHeight: "1.43" },
  } },
  defaultRadius: "6px",
  respectReducedMotion: true,
  cursorType: "pointer",
  /*
   * The bar is the banner of the page, a dialog's header is none.  A menu opens
   * inside of its landmark, with nothing in it but items, the first of them focused.
   */
  components: {
    Menu: { defaultProps: { withinPortal: false, withInitialFocusPlaceholder: false } },
    Modal: { defaultProps: { attributes: { header: { role: "none" } } } },
  },
});

export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-body": "#FFFFFF",
    "--mantine-color-dimmed": "#56606C",
    "--mantine-color-placeholder": "#66707C",
    "--mantine-color-error": "#7A0F1E",
    "--mantine-color-default-border": "#C6CFD9",
  },
  dark: {
    "--mantine-color-body": "#12161C",
    "--mantine-color-text": "#E6EDF3",
    "--mantine-color-dimmed": "#9DA8B4",
    "--mantine-color-placeholder": "#8B949E",
    "--mantine-color-error": "#FF8A7A",
    "--mantine-color-default": "#1C222B",
    "--mantine-color-default-hover": "#252C37",
    "--mantine-color-default-border": "#3A4450",
  },
});
