# The documentation site, as ex_doc takes it; `make docs` builds it.

# The folder of each module.
folder_of =
  for source <- Path.wildcard("erlang/**/*.erl"), into: %{} do
    {Path.basename(source, ".erl"), source |> Path.dirname() |> Path.basename()}
  end

# What users meet, by folder. All other modules stand under the last heading.
groups = [
  {"Queue limits", ["limits"]},
  {"Control plane", ["control"]},
  {"Overload", ["overload"]},
  {"Many nodes", ["cluster"]},
  {"Metrics and shell", ["metrics"]},
  {"Ways out", ["relay", "otlp", "http"]},
  {"Start and configuration", ["native", "erlang"]}
]

faces = ~w(
  erlmcp_control_cancel erlmcp_control_notifier erlmcp_control_plane erlmcp_native_app erlmcp_native_caps
  erlmcp_native_config erlmcp_native_history erlmcp_native_http
  erlmcp_native_limit erlmcp_native_metrics erlmcp_native_metrics_server erlmcp_native_otlp erlmcp_native_prometheus
  erlmcp_native_rate erlmcp_native_request erlmcp_native_reserve erlmcp_native_telemetry erlmcp_overload
  erlmcp_overload_cluster
  erlmcp_overload_default_handler erlmcp_overload_handler erlmcp_overload_http erlmcp_overload_log
  erlmcp_overload_mailbox erlmcp_overload_monitor erlmcp_overload_node erlmcp_overload_rate erlmcp_priority
  erlmcp_queue_limits
)
gone = faces -- Map.keys(folder_of)
if gone != [], do: raise("no such module: #{Enum.join(gone, ", ")}")

modules_of = fn folders -> for face <- faces, folder_of[face] in folders, do: String.to_atom(face) end

guides = Path.wildcard("docs/guides/*.md")
internals = Path.wildcard("docs/internals/*.md") |> Enum.sort_by(&(Path.basename(&1) != "overview.md"))

extras =
  ["README.md"] ++
    guides ++
    Path.wildcard("docs/*.md") ++
    internals ++
    Enum.filter(~w(CHANGELOG.md CONTRIBUTING.md RELEASE.md SECURITY.md LICENSE), &File.exists?/1)

# ex_doc knows pages, and the links to them, by the names of their files alone.
names = Enum.map(extras, &Path.basename/1)

if names != Enum.uniq(names) do
  raise "no two pages can have one name: #{Enum.join(Enum.uniq(names -- Enum.uniq(names)), ", ")}"
end

# What is spelled as code, and would be a link to what has no page: callbacks, and what processes are spawned with.
hidden =
  for beam <- Path.wildcard("_build/default/lib/erlmcp_native/ebin/*.beam"),
      {:docs_v1, _, _, _, _, _, entries} <- [Code.fetch_docs(beam)],
      {{_, name, arity}, _, _, :hidden, _} <- entries,
      into: MapSet.new(),
      do: "#{Path.basename(beam, ".beam")}:#{name}/#{arity}"

[
  main: "readme",
  proglang: :erlang,
  extras: extras,
  skip_code_autolink_to: &MapSet.member?(hidden, &1),
  groups_for_extras: [Guides: guides, Internals: internals],
  # As the README has them, and as operating.md does.
  assets: %{"docs/images" => "docs/images", "docs/images/" => "images", "docs/internals/images" => "images"},
  groups_for_modules:
    Enum.map(groups, fn {title, folders} -> {title, modules_of.(folders)} end) ++
      [{"Inside", Map.keys(folder_of) |> Enum.map(&String.to_atom/1)}]
]
