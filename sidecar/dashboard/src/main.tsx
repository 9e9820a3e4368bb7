import "@mantine/core/styles/baseline.css";
import "@mantine/core/styles/default-css-variables.css";
import "@mantine/core/styles/global.css";
import "./mantine.css";
import "./styles.css";
import { MantineProvider } from "@mantine/core";
import { QueryClientProvider } from "@tanstack/react-query";
import { startTransition, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router";
import { App } from "./app";
import { queryClient } from "./api/queries";
import { askAhead } from "./logs/ahead";
import { nonce } from "./nonce";
import { schemeManager } from "./shell/scheme";
import { cssVariables, theme } from "./theme";

/* index.html shows a shell until it is known who is there */
void askAhead(window.location.pathname, window.location.search).finally(() => startTransition(() => createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <MantineProvider theme={theme} cssVariablesResolver={cssVariables}
      defaultColorScheme="auto" getStyleNonce={() => nonce}
      colorSchemeManager={schemeManager}>
      <QueryClientProvider client={queryClient}>
        <BrowserRouter basename="/dashboard">
          <App />
        </BrowserRouter>
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
)));
