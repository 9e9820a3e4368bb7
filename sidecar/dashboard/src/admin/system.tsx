export default function Screen() {
  return <main className="page narrow"><div className="page-head"><h1>system</h1></div></main>;
}
