import { Component, type ReactNode } from "react";
import { Empty, Failure } from "./parts";

/* As Chromium, Firefox and Safari say it, and Vite of a stylesheet. */
const NOT_LOADED = /dynamically imported module|Importing a module script failed|Unable to preload CSS/i;

/* A part that throws does not take the page with it. */
export class Boundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown): { error: unknown } {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (error instanceof Error && NOT_LOADED.test(error.message)) {
      return <Empty title="A part of this page could not be loaded"
        acts={<button type="button" className="iconbtn boxed" onClick={() => window.location.reload()}>Load the page again</button>}>
        <p>The connection was cut, or the dashboard was updated while this page was open.</p></Empty>;
    }
    return error === null ? this.props.children
      : <Failure error={error} retry={() => this.setState({ error: null })} />;
  }
}
